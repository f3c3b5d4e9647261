package api

import (
	"context"
	"encoding/base64"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// longestReference bounds what a caller may call an item, in bytes.
const longestReference = 128

// The fields of a batch and of an item, and their places. The shapes are wire.BatchEncryptRequest and
// wire.BatchDecryptRequest.
const (
	batchItems = iota
	batchContext
	batchUsage
	batchAlgorithm

	itemData           = 0
	itemAssociatedData = 1
	itemReference      = 2
)

func itemFields(data string) []field {
	return []field{
		itemData:           {name: data, kind: binary, required: true},
		itemAssociatedData: {name: "associated_data", kind: binary},
		itemReference:      {name: "reference", kind: hidden, max: longestReference},
	}
}

var (
	batchEncryptFields = []field{
		batchItems:     {name: "items", kind: items, required: true, item: itemFields("plaintext")},
		batchContext:   {name: "context", kind: text, required: true, max: directory.ContextNameMax},
		batchUsage:     {name: "usage", kind: text, max: longestName},
		batchAlgorithm: {name: "algorithm", kind: text, max: longestName},
	}
	batchDecryptFields = []field{
		batchItems:   {name: "items", kind: items, required: true, item: itemFields("ciphertext")},
		batchContext: {name: "context", kind: text, required: true, max: directory.ContextNameMax},
	}
)

var errBatch = &fault.Error{
	Kind: fault.TooLarge, Op: "api.batch", Detail: "the batch has more than " + strconv.Itoa(engine.MaxBatch) + " items",
	Fields: []fault.Field{{Name: "items", Detail: "at most " + strconv.Itoa(engine.MaxBatch) + " are taken at once"}},
}

// items reads the items of a batch into d.batch and d.references.
func (d *decoder) items(f *field) error {
	if err := d.want('[', f.name, "a list"); err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	d.batch, d.references = d.batch[:0], d.references[:0]
	for d.json.PeekKind() != ']' {
		if len(d.batch) == engine.MaxBatch {
			return errBatch
		}
		if d.json.PeekKind() != '{' {
			return d.want('{', f.name+"["+strconv.Itoa(len(d.batch))+"]", "an object")
		}
		var values [maxFields]value
		if err := d.members(f.item, &values); err != nil {
			return within(f.name+"["+strconv.Itoa(len(d.batch))+"]", err)
		}
		d.batch = append(d.batch, engine.BatchItem{Data: values[itemData].bytes, AssociatedData: values[itemAssociatedData].bytes})
		d.references = append(d.references, values[itemReference].bytes)
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	return nil
}

// frameOverhead is what a frame is usually longer than its plaintext.
const frameOverhead = 320

func (s *Server) encryptBatch(x *exchange) error {
	return x.runBatch(batchEncryptFields, frameOverhead, s.config.Engine.EncryptBatch, (*exchange).answerFrames)
}

func (s *Server) decryptBatch(x *exchange) error {
	return x.runBatch(batchDecryptFields, 0, s.config.Engine.DecryptBatch, (*exchange).answerPlaintexts)
}

func (s *Server) rewrapBatch(x *exchange) error {
	return x.runBatch(batchDecryptFields, 0, s.config.Engine.RewrapBatch, (*exchange).answerFrames)
}

// runBatch reads a batch, has an operation done on it and appends the answer. overhead is what a result is longer than its
// item.
func (x *exchange) runBatch(
	fields []field, overhead int,
	operate func(context.Context, *engine.Call, *engine.BatchRequest) (engine.BatchResult, error),
	answer func(*exchange, *engine.BatchResult),
) error {
	if err := x.json.object(x.body, fields); err != nil {
		return err
	}
	size := 0
	for i := range x.json.batch {
		size += len(x.json.batch[i].Data) + overhead
	}
	x.result = grow(x.result, size)
	v := &x.json.values
	x.batch = engine.BatchRequest{
		Context: v[batchContext].text, Usage: v[batchUsage].text, Algorithm: v[batchAlgorithm].text,
		Items: x.json.batch, Dst: x.result,
	}
	res, err := operate(x.r.Context(), &x.call, &x.batch)
	if err != nil {
		return err
	}
	x.result = res.Dst
	answer(x, &res)
	return nil
}

// answerFrames appends the answer of a batch that gives frames: wire.BatchEncryptResponse. Like all answers with data it is
// made by hand, and tests hold it equal to what its wire type encodes to.
func (x *exchange) answerFrames(res *engine.BatchResult) {
	out := x.beginBatch(res)
	var same *engine.BatchItemResult // an item whose answer ended with tail; the next one usually ends so too
	var tail []byte
	for i := range res.Items {
		item := &res.Items[i]
		out = x.beginItem(out, item, i)
		if item.Err != nil {
			out = appendItemError(out, item.Err)
			continue
		}
		out = append(out, `"ciphertext":"`...)
		out = base64.StdEncoding.AppendEncode(out, item.Data)
		if same == nil || same.KeyID != item.KeyID || same.Algorithm != item.Algorithm || same.Format != item.Format {
			same, tail = item, appendTail(tail[:0], item)
		}
		out = append(out, tail...)
	}
	out = appendCounts(out, res)
	out = append(out, `,"warnings":`...)
	x.out = append(appendTexts(out, res.Warnings), '}')
}

// appendTail appends what follows a frame in an answer.
func appendTail(tail []byte, item *engine.BatchItemResult) []byte {
	tail = append(tail, `","algorithm":`...)
	tail = appendQuoted(tail, item.Algorithm)
	tail = append(tail, `,"key_id":`...)
	tail = appendQuoted(tail, item.KeyID)
	tail = append(tail, `,"format":`...)
	tail = strconv.AppendInt(tail, int64(item.Format), 10)
	return append(tail, '}')
}

// answerPlaintexts appends the answer of a batch that gives plaintexts: wire.BatchDecryptResponse.
func (x *exchange) answerPlaintexts(res *engine.BatchResult) {
	out := x.beginBatch(res)
	for i := range res.Items {
		item := &res.Items[i]
		out = x.beginItem(out, item, i)
		if item.Err != nil {
			out = appendItemError(out, item.Err)
			continue
		}
		out = append(out, `"plaintext":"`...)
		out = base64.StdEncoding.AppendEncode(out, item.Data)
		out = append(out, `","key_id":`...)
		out = appendQuoted(out, item.KeyID)
		if item.Rewrap {
			out = append(out, `,"rewrap":true`...)
		}
		out = append(out, '}')
	}
	x.out = append(appendCounts(out, res), '}')
}

// itemOverhead is room for all of an item in an answer but its data, its reference and the text of its error.
const itemOverhead = 256

// longestEscape is what one byte of a text takes in JSON at most.
const longestEscape = 6

// beginBatch makes room for the answer, so that it is seldom moved.
func (x *exchange) beginBatch(res *engine.BatchResult) []byte {
	size := overhead
	for i := range res.Items {
		size += itemOverhead + base64.StdEncoding.EncodedLen(len(res.Items[i].Data)) + len(x.json.references[i])
	}
	return append(grow(x.out, size), `{"results":[`...)
}

// beginItem makes sure of the room for an item, so that no plaintext is left behind where an answer moved away from, and
// begins it.
func (x *exchange) beginItem(out []byte, item *engine.BatchItemResult, i int) []byte {
	out = extend(out, itemOverhead+base64.StdEncoding.EncodedLen(len(item.Data))+longestEscape*len(x.json.references[i]))
	if i > 0 {
		out = append(out, ',')
	}
	out = append(out, '{')
	if reference := x.json.references[i]; len(reference) > 0 {
		out = append(out, `"reference":`...)
		out, _ = jsontext.AppendQuote(out, reference)
		out = append(out, ',')
	}
	return out
}

// appendItemError appends why an item failed, as a problem would tell it, and ends the item.
func appendItemError(out []byte, err error) []byte {
	p := problemOf(err)
	out = extend(out, itemOverhead+longestEscape*len(p.Detail))
	out = append(out, `"error":{"code":`...)
	out = appendQuoted(out, p.Code)
	out = append(out, `,"detail":`...)
	out = appendQuoted(out, p.Detail)
	return append(out, "}}"...)
}

func appendCounts(out []byte, res *engine.BatchResult) []byte {
	failed := res.Failed()
	out = append(out, `],"succeeded":`...)
	out = strconv.AppendInt(out, int64(len(res.Items)-failed), 10)
	out = append(out, `,"failed":`...)
	return strconv.AppendInt(out, int64(failed), 10)
}
