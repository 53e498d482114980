-- waiter, "p" or "l" or another kind, name, and what it was given already and does not want (a value, a token), or ""
return run(true, true, function()
  if redis.call("EXISTS", CLEARED) == 1 then return {"-"} end
  local id, kind, name, given = argument(1), argument(2), argument(3), argument(4)
  local waiter = leave(id)
  undo_grant(id)
  if given ~= "" then undo(kind, name, {"+", given}) end
  if waiter and string.sub(waiter[1], 1, 1) == "m" then trim() end
  return {"+"}
end)
