-- name, waiter, "1" if it waits
return run(false, false, function()
  local name, id = argument(1), argument(2)
  local data = entry(name)
  if not data then return wait_or_not(id, argument(3), "g" .. long(name)) end
  leave(id)
  if data[6] ~= "" then return {"+", shown(data[1]), "", redis.call("HGET", HASH, "d" .. name)} end
  return {"+", shown(data[1]), "1", unpack(values_of(name, data))}
end)
