-- name, waiter, "1" if it waits
return run(true, false, function()
  local name, id = argument(1), argument(2)
  refresh(id)
  sweep_grants()
  serve_list(name)
  local granted = take_grant(id)
  if granted then return granted[5] end
  local data = entry(name)
  if not data then return wait_or_not(id, argument(3), "p" .. long(name)) end
  leave(id)
  must_be_list(name, data)
  return {"+", take_item(name, data)}
end)
