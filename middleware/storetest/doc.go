// Package storetest holds what the tests of the storage ports share: [Fake], an
// in-memory store and counter; [StartRedis], a real redis-server; [StartProxy],
// a slow network in front of it; and the suites [RunTokenStore] and
// [RunCounter], which every implementation of the ports passes.
package storetest
