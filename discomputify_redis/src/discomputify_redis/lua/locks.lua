-- Locks: {token, part, attempt's number, end of the lease}; and those who wait for them.
local function lock_of(name)
  local lock = read("k" .. name)
  if lock and lock[4] <= now then
    free_lock(name, lock)
    return nil
  end
  return lock
end

local function hold(name, lock, lease)
  if lock[4] then strike("l" .. stamp(lock[4]) .. name) end
  lock[4] = now + lease
  note("l" .. stamp(lock[4]) .. name)
  write("k" .. name, lock)
end

-- Take a lock that is free; returns the answer.
local function take_lock(name, part, number, lease)
  charge(weight(name), 1)
  local token = count("token", 1)
  note("h" .. padded(part) .. name)
  hold(name, {token, tonumber(part), number}, lease)
  return {"+", shown(token)}
end

-- Give the lock *name*, where it is free, to the first who waits.
local function serve_lock(name)
  if lock_of(name) then return end
  local id, waiter = next_waiter("l" .. long(name))
  if id then grant(id, waiter, "l", name, take_lock(name, waiter[3], waiter[4], waiter[6])) end
end

-- The lock as this attempt holds it with *token*.
local function held_lock(name, token)
  local lock = lock_of(name)
  if not lock or lock[1] ~= token or lock[2] ~= tonumber(PART) or lock[3] ~= NUMBER then refuse("lock") end
  return lock
end
