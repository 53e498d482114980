-- Entries: {version, size, owner's part or 0, number of the first value, how many, kind; "" is a list}.
local function entry(name) return read("e" .. name) end
local function keep(name, data) write("e" .. name, data) end
local function item(name, number) return "i" .. long(name) .. stamp(number) end

local function must_be_list(name, data)
  if data[6] ~= "" then refuse("kind", "list") end
end

local function set_owner(name, old, new)
  if old == new then return end
  if old ~= 0 then strike("o" .. padded(old) .. name) end
  if new ~= 0 then note("o" .. padded(new) .. name) end
end

-- Remove what is kept beside the head.
local function drop_values(name, data)
  if data[6] ~= "" then return forget("d" .. name) end
  local fields = {}
  for number = data[4], data[4] + data[5] - 1 do fields[#fields + 1] = item(name, number) end
  in_pieces(fields, forget)
end

local function remove_entry(name, data)
  drop_values(name, data)
  forget("e" .. name)
  strike("n" .. name)
  set_owner(name, data[3], 0)
  charge(-data[2], -1, -data[5])
end

-- The value of an entry where that is a ref, to be handed back.
local function ref_of(name, data)
  if not data or data[6] ~= "ref" then return nil end
  return redis.call("HGET", HASH, "d" .. name)
end

-- Set an entry whose head is *old* now. Raises what does not fit; returns the version.
local function put(name, old, value, owner)
  local size = weight(name) + size_of(value)
  check_value(size_of(value))
  check_room(size - (old and old[2] or 0), old and 0 or 1)
  if old then
    drop_values(name, old)
    charge(size - old[2], 0, -old[5])
  else
    note("n" .. name)
    charge(size, 1)
  end
  set_owner(name, old and old[3] or 0, owner)
  local version = count("version", 1)
  keep(name, {version, size, owner, 0, 0, kind_of(value)})
  redis.call("HSET", HASH, "d" .. name, value)
  if counter("waiting") > 0 then
    wake_all("g" .. long(name))
    wake_all("p" .. long(name)) -- they are told that it is no list
  end
  return version
end

-- The values of a list, at most *most*.
local function values_of(name, data, most)
  local fields, values = {}, {}
  for number = data[4], data[4] + math.min(data[5], most or data[5]) - 1 do fields[#fields + 1] = item(name, number) end
  in_pieces(fields, function(...)
    for _, value in ipairs(redis.call("HMGET", HASH, ...)) do values[#values + 1] = value end
  end)
  return values
end
