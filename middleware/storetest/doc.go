// Package storetest has what the tests of the storage ports share: [Fake], an
// in-memory store and counter; [StartRedis], which runs a redis-server;
// [StartProxy], which delays and breaks connections to it; and the suites
// [RunRecordStore] and [RunCounter], which every implementation of the ports must
// pass.
package storetest
