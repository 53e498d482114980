-- kind, name, number of the round, root, sign, value or "", waiter, "1" if it waits
local name, root, sign, value, id = argument(2), tonumber(argument(4)), argument(5), argument(6), argument(7)
local round = argument(1) .. long(name) .. stamp(argument(3))

local function agree(head)
  if head[2] ~= sign or head[3] ~= root then refuse("differ", head[2], tostring(head[3])) end
end

-- The head of the round after this part has brought what it brings.
local function bring(head)
  local mine = head and redis.call("HGET", HASH, brought(round, PART))
  if head and head[1] > (mine and 1 or 0) then agree(head) end
  local kind = argument(1)
  if value == "" and (kind == "g" or (kind == "c" and root == tonumber(PART))) then refuse("empty") end
  local size = value == "" and 0 or size_of(value)
  local change = size - (mine and mine ~= "" and size_of(mine) or 0) + (mine and 0 or weight(name))
  check_value(size)
  check_room(change, 0)
  charge(change)
  redis.call("HSET", HASH, brought(round, PART), value)
  local is_new = not head
  head = head or {0, sign, root, 0, 0, "open", 0}
  head[1], head[2], head[3], head[4] = head[1] + (mine and 0 or 1), sign, root, head[4] + change
  if is_new then
    note("v" .. round)
    head[5] = never_comes(round, head)
  end
  write("r" .. round, head)
  return head
end

local function is_full(head)
  if argument(1) ~= "c" then return head[1] >= TOTAL end
  return redis.call("HEXISTS", HASH, brought(round, root)) == 1
end

-- What is answered while parts are missing.
local function wait_for_others(head)
  if head[5] ~= 0 or argument(1) == "c" then -- that may have changed: it may have come, or a newer attempt of it
    head[5] = never_comes(round, head)
    write("r" .. round, head)
  end
  if head[5] ~= 0 then
    local known = read("p" .. head[5])
    refuse("gone", tostring(head[5]), known[2], known[3])
  end
  local answer = wait_or_not(id, argument(8), "m" .. round)
  if answer[1] == "~" then return answer end
  refuse("late", unpack(missing(round, head, 100)))
end

-- What came of a round that is complete.
local function result()
  if argument(1) == "b" then return {"+"} end
  local head = read("r" .. round)
  if not head then refuse("forgotten") end
  agree(head)
  local fields, values = {}, {"+"}
  for part = (root - 1) * (argument(1) == "c" and 1 or 0) + 1, argument(1) == "c" and root or TOTAL do
    fields[#fields + 1] = brought(round, part)
  end
  in_pieces(fields, function(...)
    for _, each in ipairs(redis.call("HMGET", HASH, ...)) do values[#values + 1] = each end
  end)
  if argument(1) == "c" and redis.call("ZSCORE", INDEX, "u" .. round)
    and redis.call("HSETNX", HASH, heard(round, PART), "") == 1 then
    head[7] = head[7] + 1
    write("r" .. round, head)
    settle_broadcast(round, head)
  end
  return values
end

return run(false, false, function()
  local head = read("r" .. round)
  if not is_complete(round, head) then
    head = bring(head)
    if not is_full(head) then return wait_for_others(head) end
    complete(round, head)
  end
  return result()
end, function(answer)
  if answer[1] ~= "~" then leave(id) end
  trim()
end)
