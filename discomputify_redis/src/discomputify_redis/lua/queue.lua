-- Those who wait, in the order in which they came, and what was granted to them. A waiter is {what, ticket, part,
-- number, alive until, lease}; a grant is {kind, name, part, time, answer}.
local function enlist(id, what, lease)
  local waiter = read("w" .. id)
  if not waiter then
    waiter = {what, stamp(count("ticket", 1)), tonumber(PART), NUMBER, 0, lease or 0}
    note("q" .. what .. waiter[2] .. id)
    note("y" .. padded(PART) .. id)
    count("waiting", 1)
  end
  waiter[5] = now + ALIVE
  write("w" .. id, waiter)
end

local function leave(id)
  local waiter = read("w" .. id)
  if waiter then
    forget("w" .. id)
    strike("q" .. waiter[1] .. waiter[2] .. id)
    strike("y" .. padded(waiter[3]) .. id)
    count("waiting", -1)
  end
  return waiter
end

-- One who asks again is alive, however long it took.
local function refresh(id)
  local waiter = read("w" .. id)
  if waiter then
    waiter[5] = now + ALIVE
    write("w" .. id, waiter)
  end
end

-- The first who waits for *what* and is alive.
local function next_waiter(what)
  while true do
    local member = members("q" .. what, 1)[1]
    if not member then return nil end
    local id = string.sub(member, 18 + #what)
    local waiter = read("w" .. id)
    if waiter[5] > now then return id, waiter end
    leave(id)
  end
end

local function grant(id, waiter, kind, name, answer)
  leave(id)
  write("a" .. id, {kind, name, waiter[3], now, answer})
  note("z" .. stamp(now) .. id)
  count("granted", 1)
  wake(id)
end

-- What was granted to *id*, once.
local function take_grant(id)
  local granted = read("a" .. id)
  if granted then
    forget("a" .. id)
    strike("z" .. stamp(granted[4]) .. id)
    count("granted", -1)
  end
  return granted
end

-- What one who waits is told: to ask again, or that there is nothing.
local function wait_or_not(id, waits, what, lease, hint)
  if waits ~= "1" then
    leave(id)
    return {"-"}
  end
  enlist(id, what, lease)
  return {"~", shown(hint or 0)}
end
