-- prefix, how many at most
return run(false, false, function()
  local names = members("n" .. argument(1), argument(2))
  for position, member in ipairs(names) do names[position] = string.sub(member, 2) end
  table.insert(names, 1, "+")
  return names
end)
