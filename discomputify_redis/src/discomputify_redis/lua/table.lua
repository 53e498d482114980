-- Run alone, before anything else. Keys: the table and the list of scopes; arguments: the server's run id, and a new
-- random name for the table. What another run of the server has left behind (from a file of its) is old: away with it.
local held = redis.call("GET", KEYS[1])
if held and string.sub(held, 1, #ARGV[1] + 1) == ARGV[1] .. "." then return held end
for _, key in ipairs(redis.call("SMEMBERS", KEYS[2])) do redis.call("UNLINK", key) end
redis.call("DEL", KEYS[2])
redis.call("SET", KEYS[1], ARGV[1] .. "." .. ARGV[2])
return ARGV[1] .. "." .. ARGV[2]
