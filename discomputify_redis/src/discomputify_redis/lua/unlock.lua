-- name, token
return run(true, false, function()
  local name = argument(1)
  free_lock(name, held_lock(name, tonumber(argument(2))))
  serve_lock(name)
  return {"+"}
end)
