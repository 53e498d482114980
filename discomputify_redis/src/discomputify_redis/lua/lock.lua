-- name, waiter, "1" if it waits, lease in microseconds
return run(true, false, function()
  local name, id, lease = argument(1), argument(2), tonumber(argument(4))
  refresh(id)
  sweep_grants()
  serve_lock(name)
  local granted = take_grant(id)
  if granted then return granted[5] end
  local lock = lock_of(name)
  if lock then return wait_or_not(id, argument(3), "l" .. long(name), lease, lock[4] - now) end
  leave(id)
  check_room(weight(name), 1)
  return take_lock(name, PART, NUMBER, lease)
end)
