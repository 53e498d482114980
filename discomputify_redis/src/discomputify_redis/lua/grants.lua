-- Taking back what was granted to those who will not fetch it.
local function undo(kind, name, answer)
  if kind == "p" then return put_back(name, answer[2]) end
  local lock = lock_of(name)
  if lock and lock[1] == tonumber(answer[2]) then free_lock(name, lock) end
  serve_lock(name)
end

local function undo_grant(id)
  local granted = take_grant(id)
  if granted then undo(granted[1], granted[2], granted[5]) end
end

-- What was granted to those who died meanwhile goes to others.
local function sweep_grants()
  if counter("granted") == 0 then return end
  local late = stamp(now - ALIVE)
  -- Newest first, so that values of a list come back in their order.
  for _, member in ipairs(redis.call("ZREVRANGEBYLEX", INDEX, "[z" .. late .. "\255", "[z")) do
    undo_grant(string.sub(member, 18))
  end
end
