package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cryptoserve/api/wire"
)

const (
	batchPath  = "/api/v1/crypto/batch/encrypt"
	batchItems = 100
	// partRounds bounds the rounds of the comparisons beside the first.
	partRounds = 5
)

// batchResult is the part of the report about batches: for each audit mode single calls and batches.
type batchResult struct{ pairs []batchPair }

type batchPair struct {
	mode          string
	single, batch *row
}

// ratio is how many times more operations a second batches do than single calls.
func (p batchPair) ratio() float64 {
	return batchItems * median(ratios(p.batch.slices, p.single.slices))
}

// batchLoad asks to encrypt batchItems plaintexts of a size at once.
func batchLoad(s *server, size int) (*load, error) {
	in := wire.BatchEncryptRequest{Context: benchContext}
	for range batchItems {
		in.Items = append(in.Items, wire.BatchEncryptItem{Plaintext: plaintext(size)})
	}
	req, err := request(s, batchPath, in)
	if err != nil {
		return nil, err
	}
	return &load{server: s, request: req, check: func(body []byte) error { return checkBatch(body, size) }}, nil
}

func checkBatch(body []byte, size int) error {
	var answer wire.BatchEncryptResponse
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Succeeded != batchItems || len(answer.Results) != batchItems {
		return fmt.Errorf("a batch of which %d of %d items succeeded", answer.Succeeded, batchItems)
	}
	for i, item := range answer.Results {
		if len(item.Ciphertext) < size+28 {
			return fmt.Errorf("item %d: a ciphertext of %d bytes for a plaintext of %d", i, len(item.Ciphertext), size)
		}
	}
	return nil
}

func (b *bench) measureBatch(ctx context.Context, r *report) error {
	result := &batchResult{}
	var rows []*row
	for _, mode := range auditModes {
		single, err := encryptLoad(b.daemons[mode], goalSize)
		if err != nil {
			return err
		}
		batch, err := batchLoad(b.daemons[mode], goalSize)
		if err != nil {
			return err
		}
		p := batchPair{mode: mode, single: &row{load: single}, batch: &row{load: batch}}
		rows = append(rows, p.single, p.batch)
		result.pairs = append(result.pairs, p)
	}
	r.batch = result
	return b.interleave(ctx, "batch", func(ctx context.Context, counts bool, length time.Duration) error {
		for _, row := range rows {
			if err := row.take(ctx, b.connections, length, counts); err != nil {
				return err
			}
		}
		return nil
	})
}

// interleave calls a function that takes a slice of each kind, once to warm up, then for each round.
func (b *bench) interleave(ctx context.Context, label string, round func(ctx context.Context, counts bool, length time.Duration) error) error {
	rounds := min(b.rounds, partRounds)
	for i := range rounds + 1 {
		b.say("%s: round %d of %d", label, i, rounds)
		if err := round(ctx, i > 0, b.slice/2); err != nil {
			return err
		}
	}
	return nil
}

// take adds a slice to the row if it counts.
func (r *row) take(ctx context.Context, connections int, length time.Duration, counts bool) error {
	s, err := r.load.run(ctx, connections, length)
	if err == nil && counts {
		r.slices = append(r.slices, s)
	}
	return err
}
