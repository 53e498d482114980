-- How much a scope holds and may hold. Locks are freed here, since one whose lease has ended takes no room.
local limits = {}
for number in string.gmatch(LIMITS, "%d+") do limits[#limits + 1] = tonumber(number) end
local JOB_BYTES, JOB_ENTRIES, VALUE_BYTES, HISTORY_BYTES, HISTORY_ROUNDS = unpack(limits)

local function weight(name) return OVERHEAD + #name end

-- Values come as "SIZE\nKIND\nMETA\nDATA"; the size is what they count.
local function size_of(value) return tonumber(string.match(value, "^%d+")) end
local function kind_of(value) return string.match(value, "^%d+\n(%a+)\n") end

local function charge(size, entries, items)
  if size ~= 0 then count("size", size) end
  if entries and entries ~= 0 then count("count", entries) end
  if items and items ~= 0 then count("items", items) end
end

local function free_lock(name, lock)
  forget("k" .. name)
  strike("h" .. padded(lock[2]) .. name)
  strike("l" .. stamp(lock[4]) .. name)
  charge(-weight(name), -1)
end

-- Free locks whose leases have ended.
local function sweep_leases()
  for _, member in ipairs(redis.call("ZRANGEBYLEX", INDEX, "[l", "[l" .. stamp(now) .. "\255", "LIMIT", 0, MANY)) do
    local name = string.sub(member, 18)
    free_lock(name, read("k" .. name))
    wake_all("l" .. long(name))
  end
end

local function full(limit, would, most) refuse("full", limit, shown(would), shown(most)) end

local function check_value(size)
  if size > VALUE_BYTES then full("value_bytes", size, VALUE_BYTES) end
end

-- Refuse what would not fit.
local function check_room(size, entries, items)
  if entries > 0 and counter("count") + entries > JOB_ENTRIES then sweep_leases() end
  if size > 0 and counter("size") + size > JOB_BYTES then full("job_bytes", counter("size") + size, JOB_BYTES) end
  for name, more in pairs({count = entries, items = items or 0}) do
    if more > 0 and counter(name) + more > JOB_ENTRIES then full("job_entries", counter(name) + more, JOB_ENTRIES) end
  end
end
