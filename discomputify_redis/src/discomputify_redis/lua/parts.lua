-- What happens when an attempt is over, or a newer one of its part comes.
local function give_back(part)
  for _, member in ipairs(members("y" .. padded(part))) do
    local id = string.sub(member, 10)
    leave(id)
    wake(id)
  end
  if counter("granted") > 0 then
    local grants = members("z")
    for position = #grants, 1, -1 do
      local id = string.sub(grants[position], 18)
      if read("a" .. id)[3] == tonumber(part) then
        undo_grant(id)
        wake(id)
      end
    end
  end
  for _, member in ipairs(members("o" .. padded(part))) do
    local name = string.sub(member, 10)
    remove_entry(name, entry(name))
  end
  for _, member in ipairs(members("h" .. padded(part))) do
    local name = string.sub(member, 10)
    free_lock(name, read("k" .. name))
    serve_lock(name)
  end
end

-- *part* will never take part any more in anything.
local function now_gone(part)
  note("G" .. padded(part))
  count("gone", 1)
  for _, member in ipairs(members("v")) do
    local round = string.sub(member, 2)
    local head = read("r" .. round)
    local root_only = parse(round) == "c"
    if (not root_only or head[3] == part) and redis.call("HEXISTS", HASH, brought(round, part)) == 0 then
      head[5] = part
      write("r" .. round, head)
      wake_all("m" .. round)
    end
  end
  for _, member in ipairs(members("u")) do
    local round = string.sub(member, 2)
    settle_broadcast(round, read("r" .. round))
  end
end

local function may_come_again(part)
  strike("G" .. padded(part))
  count("gone", -1)
end

local function is_gone(known) return known and known[2] ~= "" and known[2] ~= "again" end

-- An attempt of *part* is over.
local function over(part, number, stands, reason)
  local known = read("p" .. part)
  if known and (known[1] > number or (known[1] == number and is_gone(known))) then return end
  write("p" .. part, {number, stands, reason})
  give_back(part)
  if is_gone({number, stands}) then
    if not is_gone(known) then now_gone(part) end
  elseif is_gone(known) then
    may_come_again(part)
  end
end
