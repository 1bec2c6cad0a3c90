package redisstore

// Stats is what a Client has done since it was made, and what it does now.
type Stats struct {
	Queued  int64 // commands accepted and not sent
	Waiting int64 // callers that wait, for what is queued or was sent
	Silent  bool

	Commands uint64 // accepted or refused; divided by Batches it is a batch's size
	Batches  uint64 // sent
	Refused  uint64 // because the queue was full
	Changes  uint64 // from answering to silent and back, each counted

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
