-- The gateway's job in nginx: verify the JWT, read its record in Redis, check
-- the route and count the request in a fixed window. It makes two trips to Redis.
local ffi = require "ffi"
local cjson = require "cjson.safe"
local base64 = require "ngx.base64"
local redis = require "nginx.redis"

local SECRET, HOST, PORT = "{{.Secret}}", "{{.RedisHost}}", {{.RedisPort}}
local SCRIPT, WINDOW = "{{.ScriptSHA}}", 60

-- A worker runs this file for each request, and the declarations only once.
if not package.loaded.bench_hmac then
  ffi.cdef [[
    const void *EVP_sha256(void);
    unsigned char *HMAC(const void *md, const void *key, int key_len,
                        const unsigned char *data, size_t n, unsigned char *out, unsigned int *out_len);
    int CRYPTO_memcmp(const void *a, const void *b, size_t len);
  ]]
  package.loaded.bench_hmac = { out = ffi.new("unsigned char[32]"), len = ffi.new("unsigned int[1]") }
end
local buffers = package.loaded.bench_hmac

local function refuse(status, reason)
  ngx.status = status
  ngx.header["Content-Type"] = "application/problem+json"
  ngx.say('{"status":', status, ',"reason":"', reason, '"}')
  return ngx.exit(status)
end

local function signed(text, signature)
  ffi.C.HMAC(ffi.C.EVP_sha256(), SECRET, #SECRET, text, #text, buffers.out, buffers.len)
  return #signature == 32 and ffi.C.CRYPTO_memcmp(buffers.out, signature, 32) == 0
end

local token = string.match(ngx.var.http_authorization or "", "^Bearer (.+)$")
if not token then return refuse(401, "credentials_missing") end
local text, head, payload, signature = string.match(token, "^(([%w_-]+)%.([%w_-]+))%.([%w_-]+)$")
if not text then return refuse(401, "token_malformed") end
local header = cjson.decode(base64.decode_base64url(head) or "")
if not header or header.alg ~= "HS256" then return refuse(401, "algorithm_not_allowed") end
if not signed(text, base64.decode_base64url(signature) or "") then return refuse(401, "signature_invalid") end
local claims = cjson.decode(base64.decode_base64url(payload) or "")
if not claims or not claims.api_key then return refuse(401, "token_malformed") end
if not claims.exp or claims.exp < ngx.time() then return refuse(401, "token_expired") end

local store = redis:new()
store:set_timeout(100)
if not store:connect(HOST, PORT) then return refuse(503, "store_unavailable") end
local value, failed = store:get("token:" .. claims.api_key)
if failed then return refuse(503, "store_unavailable") end
local record = value ~= ngx.null and cjson.decode(value)
if not record then return refuse(401, "token_unknown") end

local allowed = false
for _, route in ipairs(record.allowed_routes) do
  if route == ngx.var.uri then allowed = true break end
end
if not allowed then return refuse(403, "route_not_allowed") end

local start = ngx.time() - ngx.time() % WINDOW
local reply = store:evalsha(SCRIPT, 1, "rate_count:" .. claims.api_key .. ":" .. start, start, WINDOW, (WINDOW + 1) * 1000)
if not reply then return refuse(503, "limiter_unavailable") end
store:set_keepalive(60000, 256)
ngx.header["X-RateLimit-Limit"] = record.rate_limit
ngx.header["X-RateLimit-Remaining"] = math.max(0, record.rate_limit - reply[2])
ngx.header["X-RateLimit-Reset"] = start + WINDOW
if reply[2] > record.rate_limit then return refuse(429, "rate_limited") end
