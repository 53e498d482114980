-- name, value, version or "", "1" if ephemeral
return run(true, false, function()
  local name, wanted = argument(1), argument(3)
  local old = entry(name)
  local version = old and old[1] or 0
  if wanted ~= "" and tonumber(wanted) ~= version then return {"-", shown(version)} end
  local ref = ref_of(name, old)
  version = put(name, old, argument(2), argument(4) == "1" and tonumber(PART) or 0)
  return {"+", shown(version), ref}
end)
