-- name
return run(true, false, function()
  local name = argument(1)
  local data = entry(name)
  if not data then return {"-"} end
  local ref = ref_of(name, data)
  remove_entry(name, data)
  return {"+", ref}
end)
