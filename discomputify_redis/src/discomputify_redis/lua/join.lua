-- An attempt asks for the first time: it replaces older ones of its part.
return run(false, true, function()
  if redis.call("EXISTS", CLEARED) == 1 then refuse("cleared") end
  local known = read("p" .. PART)
  local stands = standing(PART, NUMBER, known)
  if stands == "over" then refuse("over") end
  if stands == "" then return {"+"} end
  write("p" .. PART, {NUMBER, "", ""})
  if is_gone(known) then may_come_again(PART) end
  if known then give_back(tonumber(PART)) end
  redis.call("HSET", HASH, "#total", shown(TOTAL))
  redis.call("SADD", SCOPES, HASH, INDEX)
  trim()
  return {"+"}
end)
