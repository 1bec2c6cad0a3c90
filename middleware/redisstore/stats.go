package redisstore

// Stats are the statistics of a Client. Counts begin when it is made.
type Stats struct {
	Queued  int64 // commands accepted and not sent
	Waiting int64 // callers whose commands are queued, or sent and not answered
	Silent  bool

	Commands uint64 // accepted or refused; Commands/Batches is the mean size of a batch
	Batches  uint64 // sent
	Refused  uint64 // because the queue was full
	Changes  uint64 // between answering and silent, in both directions

	CacheHits, CacheMisses uint64 // of the client-side cache
	CacheEntries           int64
}

// Stats returns the client's statistics.
func (c *Client) Stats() Stats {
	s := Stats{
		Queued:   int64(c.pipe.Len()),
		Waiting:  c.waiting.Load(),
		Silent:   c.silence.epoch.Load().silent != nil,
		Commands: c.commands.Load(),
		Batches:  c.silence.batches.Load(),
		Refused:  c.refused.Load(),
		Changes:  c.silence.changes.Load(),
	}
	c.records.stats(&s)
	return s
}
