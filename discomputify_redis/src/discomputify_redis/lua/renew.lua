-- name, token, lease in microseconds
return run(true, false, function()
  local name = argument(1)
  hold(name, held_lock(name, tonumber(argument(2))), tonumber(argument(3)))
  wake_all("l" .. long(name)) -- they know when the lease was to end
  return {"+"}
end)
