package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// status is what `clone status --json` says that the table shows.
type status struct {
	Memory struct {
		Cost uint64 `json:"cost"`
	} `json:"memory"`
}

func table(c *cli, list []fork, cold time.Duration) error {
	fmt.Printf("\n%-14s %-16s %-18s %12s %14s\n", "FORK", "HOSTNAME", "RANDOM", "FIRST REPLY", "COST")
	var total time.Duration
	var cost uint64
	for _, f := range list {
		text, err := c.run("status", "--json", f.id)
		if err != nil {
			return err
		}
		var s status
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return fmt.Errorf("status of %s: %w", f.id, err)
		}
		fmt.Printf("%-14s %-16s %-18s %9d ms %10.1f MiB\n", f.id, f.hostname, f.random, f.reply.Milliseconds(), float64(s.Memory.Cost)/(1<<20))
		total, cost = total+f.reply, cost+s.Memory.Cost
	}
	mean := total / time.Duration(len(list))
	fmt.Printf("\ncold boot to first reply: %v; a fork: %v on average (1/%.0f)\n", cold.Round(time.Millisecond),
		mean.Round(time.Millisecond), float64(cold)/float64(mean))
	fmt.Printf("memory: a fork of a 256 MiB guest costs the host %.1f MiB on average\n", float64(cost)/float64(len(list))/(1<<20))
	return nil
}
