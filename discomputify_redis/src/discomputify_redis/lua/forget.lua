-- Nothing: that it was done takes the place of what the caller's last request was answered, which may be large.
return run(true, true, function() return {"+"} end)
