-- name, value
return run(true, false, function()
  local name, value = argument(1), argument(2)
  check_value(size_of(value))
  local data = entry(name)
  if data then must_be_list(name, data) end
  check_room(OVERHEAD + size_of(value) + (data and 0 or weight(name)), data and 0 or 1, 1)
  local before = data and data[5] or 0
  data = add_item(name, data or new_list(name), value)
  local answer = {"+", shown(data[1]), shown(before + 1)}
  if counter("waiting") > 0 then
    wake_all("g" .. long(name))
    serve_list(name)
  end
  return answer
end)
