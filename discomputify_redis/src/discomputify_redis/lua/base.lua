-- What every script begins with: its keys and arguments, the clock, refusals, wake-ups, and how a command is run.
-- What is held of a scope is one hash (by the first letter of a field, see below) and one sorted set, all of score 0,
-- whose members are read in the order of their bytes. Not here: what any command does.
--
-- Fields of the hash: "#" counters, "p" parts, "e" heads of entries, "d" their values, "i" values of lists, "k" locks,
-- "r" rounds, "b" what parts brought, "n" who has heard a broadcast, "c" complete barriers, "f" forgotten rounds,
-- "w" waiters, "a" what was granted to them, "s" and "S" the last request of each caller, and its answer.
-- Members of the index: "n" names of entries, "o" ephemeral ones by part, "h" locks by part, "l" locks by the end of
-- their lease, "q" waiters by what they wait for, "y" waiters by part, "z" grants by time, "v" open rounds,
-- "u" broadcasts that some have not heard, "t" kept results by age, "G" parts that will not come any more.
local HASH, INDEX, CLEARED, TABLE, SCOPES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local SLOT, TURN, PART, NUMBER, TOTAL, LIMITS = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
-- A waiter or a grant that nobody asked for within this time belongs to one who died.
local ALIVE = 5000000
local OVERHEAD = 64
-- Most fields in one command: Lua's stack is small.
local MANY = 1000

local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]

local function argument(position) return ARGV[7 + position] end

-- Texts that sort as numbers do, and names that are no other's beginning.
local function stamp(number) return string.format("%016.0f", number) end
local function padded(part) return string.format("%08d", part) end
local function long(name) return string.format("%03d", #name) .. name end
local function shown(number) return string.format("%.0f", number) end

-- Refuse a command. Only before anything was changed.
local function refuse(...) error({"!", ...}) end

local function counter(name) return tonumber(redis.call("HGET", HASH, "#" .. name) or 0) end
local function count(name, by) return redis.call("HINCRBY", HASH, "#" .. name, shown(by)) end

local function read(field)
  local raw = redis.call("HGET", HASH, field)
  return raw and cmsgpack.unpack(raw) or nil
end
local function write(field, data) redis.call("HSET", HASH, field, cmsgpack.pack(data)) end
local function forget(...) redis.call("HDEL", HASH, ...) end

local function note(member) redis.call("ZADD", INDEX, 0, member) end
local function strike(member) redis.call("ZREM", INDEX, member) end

-- Members that begin with *prefix*, in order; at most *most* of them.
local function members(prefix, most)
  return redis.call("ZRANGEBYLEX", INDEX, "[" .. prefix, "[" .. prefix .. "\255", "LIMIT", 0, most or -1)
end

local function in_pieces(fields, act)
  for first = 1, #fields, MANY do
    act(unpack(fields, first, math.min(first + MANY - 1, #fields)))
  end
end

-- Waiters to be told to look again; the first 12 letters of their ids are their client.
local awake = {}
local function wake(id) awake[#awake + 1] = id end
local function wake_all(what)
  for _, member in ipairs(members("q" .. what)) do wake(string.sub(member, 18 + #what)) end
end
local function send_wakes()
  local clients = {}
  for _, id in ipairs(awake) do
    local client = string.sub(id, 1, 12)
    clients[client] = clients[client] or {}
    table.insert(clients[client], id)
  end
  for client, ids in pairs(clients) do redis.call("PUBLISH", TABLE .. ":" .. client, table.concat(ids, " ")) end
end

-- How the attempt *number* of *part* stands: "" while it may ask, else why not.
local function standing(part, number, known)
  if not known or known[1] < number then return "new" end
  if known[1] > number or known[2] ~= "" then return "over" end
  return ""
end

-- Carry *command* out and return its answer: {"+", ...} done, {"-", ...} nothing there, {"~", ...} has to wait,
-- {"!", ...} refused. *changes*: what it did is remembered for a request that comes twice. *anyone*: who asks may be
-- over. *after*, if any, sees the answer.
local function run(changes, anyone, command, after)
  if redis.call("GET", TABLE) ~= ARGV[1] then return {"!", "lost"} end
  local known = redis.call("HMGET", HASH, "p" .. PART, "s" .. SLOT)
  if changes and known[2] then
    if known[2] == TURN then return cmsgpack.unpack(redis.call("HGET", HASH, "S" .. SLOT)) end
    if tonumber(known[2]) > tonumber(TURN) then return {"!", "stale"} end
  end
  if not anyone then
    local stands = standing(PART, NUMBER, known[1] and cmsgpack.unpack(known[1]))
    if stands ~= "" then return {"!", stands} end
  end
  local done, answer = pcall(command)
  if not done and not (type(answer) == "table" and answer[1] == "!") then error(answer) end
  if after then after(answer) end
  send_wakes()
  if changes and answer[1] == "+" then
    redis.call("HSET", HASH, "s" .. SLOT, TURN, "S" .. SLOT, cmsgpack.pack(answer))
  end
  return answer
end
