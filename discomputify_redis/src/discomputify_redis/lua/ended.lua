-- of each attempt that is over: part, number, how it stands, reason
return run(false, true, function()
  if redis.call("EXISTS", CLEARED) == 1 then return {"+"} end
  redis.call("SADD", SCOPES, HASH, INDEX)
  redis.call("HSET", HASH, "#total", shown(TOTAL))
  for position = 1, #ARGV - 7, 4 do
    local part, number = tonumber(argument(position)), tonumber(argument(position + 1))
    over(part, number, argument(position + 2), argument(position + 3))
  end
  trim()
  return {"+"}
end)
