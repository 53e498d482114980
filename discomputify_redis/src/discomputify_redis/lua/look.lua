-- name or "", how many rows of a kind, how many values of a list
--
-- Answers {"+", counters, entries, locks, rounds, waiters, values}, each a list of lists.
local wanted, most = argument(1), tonumber(argument(2))

local function rows_of(prefix, make)
  local rows, skip = {}, #prefix + 1
  for _, member in ipairs(members(prefix, most)) do
    local row = make(string.sub(member, skip))
    if row then rows[#rows + 1] = row end
  end
  return rows
end

local function entry_row(name)
  local data = entry(name)
  return data and {name, data[6], shown(data[2]), shown(data[1]), shown(data[5]), tostring(data[3])}
end

local function lock_row(name)
  local lock = lock_of(name)
  return lock and {name, tostring(lock[2])}
end

local function round_row(round)
  local kind, name, number = parse(round)
  if wanted ~= "" and name ~= wanted then return nil end
  local head = read("r" .. round)
  return {kind, name, shown(number), shown(head[4] - head[1] * weight(name)), unpack(missing(round, head, 100))}
end

local function waiter_row(member)
  local waiter = read("w" .. string.sub(member, 9))
  local what = waiter[1]
  local kind, name = string.sub(what, 1, 1), string.sub(what, 5)
  if kind == "m" then kind, name = string.sub(what, 2), "" end
  if waiter[5] > now and (kind == "" or wanted == "" or name == "" or name == wanted) then
    return {kind, name, tostring(waiter[3]), waiter[2]}
  end
end

local function values()
  local data = wanted ~= "" and entry(wanted)
  if not data then return {} end
  if data[6] ~= "" then return {redis.call("HGET", HASH, "d" .. wanted)} end
  return values_of(wanted, data, tonumber(argument(3)))
end

return run(false, true, function()
  local counters = {shown(counter("size")), shown(counter("count"))}
  local entries, locks
  if wanted ~= "" then
    entries, locks = {entry_row(wanted)}, {lock_row(wanted)}
  else
    entries = rows_of("n", entry_row)
    sweep_leases()
    counters = {shown(counter("size")), shown(counter("count"))}
    locks = {}
    for _, member in ipairs(members("h", most)) do locks[#locks + 1] = lock_row(string.sub(member, 10)) end
  end
  return {"+", counters, entries, locks, rows_of("v", round_row), rows_of("y", waiter_row), values()}
end)
