-- seconds for which it is remembered that the scope was cleared
return run(false, true, function()
  for _, member in ipairs(members("y")) do wake(string.sub(member, 10)) end
  redis.call("UNLINK", HASH, INDEX)
  redis.call("SREM", SCOPES, HASH, INDEX)
  redis.call("SET", CLEARED, "1", "EX", argument(1))
  return {"+"}
end)
