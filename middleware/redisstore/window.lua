-- Counts one request in a fixed window, by Redis' own clock.
--
-- KEYS[1]  rate_count:<api_key>:<windowStart>
-- ARGV[1]  windowStart, the start of the window in the key, Unix seconds
-- ARGV[2]  length of the window, seconds
-- ARGV[3]  time to live of a new counter, milliseconds
--
-- Returns {counted, count, seconds, microseconds}: whether the request was
-- counted (1 or 0), the count with this request, and Redis' time. It is not counted
-- if windowStart is not the start of the current window by Redis' clock.
local now = redis.call('TIME')
local seconds = tonumber(now[1])
if seconds - seconds % tonumber(ARGV[2]) ~= tonumber(ARGV[1]) then
  return {0, 0, seconds, tonumber(now[2])}
end
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {1, count, seconds, tonumber(now[2])}
