-- wrk asks with each token in turn. The threads begin at different tokens.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  wrk.headers["Authorization"] = nil
  requests = {}
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, { Authorization = line })
  end
  position = math.floor(#requests * number / tonumber(args[2]))
end

function request()
  position = position % #requests + 1
  return requests[position]
end
