-- name, "i" (whole) or "f", number
--
-- Whole numbers are added by Redis itself, which is exact to 64 bits; others as doubles, and written as JSON text with
-- the fewest digits that mean the same double.
local function whole(before, by)
  redis.call("HSET", HASH, "#sum", before)
  local sum = redis.pcall("HINCRBY", HASH, "#sum", by)
  local text = redis.call("HGET", HASH, "#sum")
  forget("#sum")
  if type(sum) == "table" then refuse("number") end
  return text
end

local function digits(number)
  for precision = (math.abs(number) < 1e-307) and 0 or 14, 16 do
    local text = string.format("%." .. precision .. "e", number)
    if tonumber(text) == number then return text end
    -- At a power of 2 what was rounded down may miss the double, and what is rounded up may not.
    local up = string.gsub(text, "([0-8])e", function(digit) return (digit + 1) .. "e" end)
    if tonumber(up) == number then return up end
  end
end

local function fraction(number)
  if number ~= number or number == math.huge or number == -math.huge then refuse("number") end
  if number == 0 then return string.sub(string.format("%.1f", number), 1, 4) end
  local sign, first, rest, exponent = string.match(digits(number), "^(-?)(%d)%.?(%d*)e([+-]%d+)$")
  local text = string.gsub(first .. rest, "0+$", "")
  exponent = tonumber(exponent)
  if exponent < -4 or exponent >= 16 then
    local power = string.format("e%s%02d", exponent < 0 and "-" or "+", math.abs(exponent))
    return sign .. string.sub(text, 1, 1) .. (#text > 1 and "." .. string.sub(text, 2) or "") .. power
  end
  if exponent < 0 then return sign .. "0." .. string.rep("0", -exponent - 1) .. text end
  text = text .. string.rep("0", exponent + 2 - #text)
  return sign .. string.sub(text, 1, exponent + 1) .. "." .. string.sub(text, exponent + 2)
end

return run(true, false, function()
  local name, kind, by = argument(1), argument(2), argument(3)
  local old, before = entry(name), "0"
  if old then
    before = old[6] == "json" and string.match(redis.call("HGET", HASH, "d" .. name), "^%d+\njson\n[^\n]*\n(.*)$")
    if not before or not string.match(before, "^%-?%d+%.?%d*[eE]?[+-]?%d*$") then refuse("kind", "number") end
  end
  if before == "-0" then before = "0" end
  local text
  if kind == "i" and string.match(before, "^%-?%d+$") then
    text = whole(before, by)
  else
    text = fraction(tonumber(before) + tonumber(by))
  end
  local version = put(name, old, #text .. "\njson\n\n" .. text, old and old[3] or 0)
  return {"+", shown(version), text}
end)
