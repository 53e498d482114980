-- Rounds of collectives. A round's key is its kind ("b"arrier, "g"ather, "c": broadcast), its name and its number; its
-- head is {how many came, sign, root, size, part that can never come or 0, "open" or "done", how many have heard it}.
local function parse(round) -- kind, name, number
  return string.sub(round, 1, 1), string.sub(round, 5, -17), tonumber(string.sub(round, -16))
end
local function brought(round, part) return "b" .. round .. padded(part) end
local function heard(round, part) return "n" .. round .. padded(part) end
local function round_waits(round) return next_waiter("m" .. round) ~= nil end

local function is_complete(round, head)
  if head then return head[6] == "done" end
  local kind, name, number = parse(round)
  local field = kind == "b" and "c" .. name or "f" .. kind .. name
  return number <= tonumber(redis.call("HGET", HASH, field) or 0)
end

local function raise_counter(field, number)
  if number > tonumber(redis.call("HGET", HASH, field) or 0) then redis.call("HSET", HASH, field, shown(number)) end
end

local function drop_all(round, field)
  local fields = {}
  for part = 1, counter("total") do fields[part] = field(round, part) end
  in_pieces(fields, forget)
end

-- A part that *round* waits for and that can never come, or 0.
local function never_comes(round, head)
  if parse(round) == "c" then
    return redis.call("ZSCORE", INDEX, "G" .. padded(head[3])) and head[3] or 0
  end
  for _, member in ipairs(members("G")) do
    local part = tonumber(string.sub(member, 2))
    if redis.call("HEXISTS", HASH, brought(round, part)) == 0 then return part end
  end
  return 0
end

-- Parts that *round* waits for, at most *most* of them.
local function missing(round, head, most)
  local found = {}
  if parse(round) == "c" then return {tostring(head[3])} end
  for first = 1, counter("total"), MANY do
    local fields = {}
    for part = first, math.min(first + MANY - 1, counter("total")) do fields[#fields + 1] = brought(round, part) end
    for offset, value in ipairs(redis.call("HMGET", HASH, unpack(fields))) do
      if not value then found[#found + 1] = tostring(first + offset - 1) end
      if #found >= most then return found end
    end
  end
  return found
end

-- The result of *round* counts as history from now on.
local function retire(round, size)
  strike("u" .. round)
  note("t" .. stamp(count("ticket", 1)) .. round)
  count("history", size)
  count("results", 1)
end

local function drop_result(round)
  local kind, name, number = parse(round)
  count("history", -read("r" .. round)[4])
  count("results", -1)
  drop_all(round, brought)
  if kind == "c" then drop_all(round, heard) end
  forget("r" .. round)
  raise_counter("f" .. kind .. name, number)
end

-- Drop the oldest results that are too many, but none that somebody who took part still waits for.
local function trim()
  if counter("history") <= HISTORY_BYTES and counter("results") <= HISTORY_ROUNDS then return end
  for _, member in ipairs(members("t", 100)) do
    if counter("history") <= HISTORY_BYTES and counter("results") <= HISTORY_ROUNDS then return end
    local round = string.sub(member, 18)
    if not round_waits(round) then
      strike(member)
      drop_result(round)
    end
  end
end

-- A broadcast that every part has heard, or never will, counts as history.
local function settle_broadcast(round, head)
  local parts = head[7]
  if parts + counter("gone") < counter("total") then return end
  for _, member in ipairs(members("G")) do
    if redis.call("HEXISTS", HASH, heard(round, string.sub(member, 2))) == 0 then parts = parts + 1 end
  end
  if parts < counter("total") then return end
  charge(-head[4])
  retire(round, head[4])
end

-- *round* has become complete.
local function complete(round, head)
  local kind, name, number = parse(round)
  strike("v" .. round)
  charge(-head[4])
  wake_all("m" .. round)
  if kind == "b" then
    drop_all(round, brought)
    forget("r" .. round)
    raise_counter("c" .. name, number)
    return
  end
  head[6] = "done"
  if kind == "g" then
    head[4] = head[4] - (head[1] - 1) * weight(name) + head[1] * OVERHEAD
    retire(round, head[4])
  else
    local value = redis.call("HGET", HASH, brought(round, head[3]))
    drop_all(round, brought)
    redis.call("HSET", HASH, brought(round, head[3]), value)
    head[4] = weight(name) + size_of(value) + OVERHEAD
    charge(head[4])
    note("u" .. round)
  end
  write("r" .. round, head)
end
