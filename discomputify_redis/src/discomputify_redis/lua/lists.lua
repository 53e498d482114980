-- Lists, and those who wait for their values.
-- Numbers of values may become negative by putting back; stamps must not.
local ORIGIN = 1000000000000
local function new_list(name)
  local data = {0, weight(name), 0, ORIGIN, 0, ""}
  note("n" .. name)
  charge(data[2], 1)
  return data
end

local function add_item(name, data, value, first)
  if first then data[4] = data[4] - 1 end
  redis.call("HSET", HASH, item(name, first and data[4] or data[4] + data[5]), value)
  data[1], data[2], data[5] = count("version", 1), data[2] + OVERHEAD + size_of(value), data[5] + 1
  charge(OVERHEAD + size_of(value), 0, 1)
  keep(name, data)
  return data
end

local function take_item(name, data)
  local field = item(name, data[4])
  local value = redis.call("HGET", HASH, field)
  local version = count("version", 1)
  if data[5] == 1 then
    remove_entry(name, data)
    return value
  end
  forget(field)
  local size = OVERHEAD + size_of(value)
  data[1], data[2], data[4], data[5] = version, data[2] - size, data[4] + 1, data[5] - 1
  charge(-size, 0, -1)
  keep(name, data)
  return value
end

-- Give values of the list *name* to those who wait, as far as there are both.
local function serve_list(name)
  if counter("waiting") == 0 then return end
  while true do
    local data = entry(name)
    if not data or data[6] ~= "" then return end
    local id, waiter = next_waiter("p" .. long(name))
    if not id then return end
    grant(id, waiter, "p", name, {"+", take_item(name, data)})
  end
end

-- Make *value* the first of its list again: who got it does not want it. It may exceed limits. What was put in the
-- place of the whole list meanwhile has replaced this value, too.
local function put_back(name, value)
  local data = entry(name)
  if data and data[6] ~= "" then return end
  add_item(name, data or new_list(name), value, true)
  wake_all("g" .. long(name))
  serve_list(name)
end
