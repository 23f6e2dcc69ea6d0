package agent

// Abandon drops the connection without telling anybody, like a client that was
// killed.
func (c *Client) Abandon() { c.conn.Close() }
