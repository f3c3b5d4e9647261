// Package audit keeps the record of every operation: durable before the operation is answered, and chained, so that no
// line can be changed, removed, moved or added unseen.
//
// # Files
//
// A folder holds one node's log as segments of a fixed size, audit-<first sequence, 20 digits>.log, mode 0600. A segment
// is made ahead as audit-spare, filled with zeros and synced, and gets its name when the one before is full; what is not
// written yet are zeros. A segment holds lines, each a JSON object (RFC 8259) in one fixed form: members in this order,
// no spaces, empty text and a zero format left out. So the bytes of a line follow from its values.
//
// The first line is the segment's header:
//
//	{"v":1,"segment":"cryptoserve-audit","node":NODE,"first":N,"prev":HASH,"hash":HASH}
//
// All others are records:
//
//	{"v":1,"seq":N,"synced":N,"prev":HASH,"time":TIME,"node":NODE,"request_id":..,"tenant":..,"subject":..,"kind":..,
//	"source":..,"action":..,"resource":..,"context":..,"key_id":..,"algorithm":..,"format":N,"in":N,"out":N,
//	"items":[ITEM,ITEM,..],"result":"success|denied|failed|started","code":..,"cause":..,"policies":..,"latency_us":N,
//	"hash":HASH}
//
// policies are the names of policies that the operation did not meet, comma separated: those that refused it, warned of it or
// only take note of it.
//
// A result of started stands before a change; the record of its end follows under the same request id.
//
// TIME is RFC 3339 in UTC with up to nine digits of fraction; in and out are bytes, at most 2^63-1: a stream may take them
// past 2^53, which a reader of JSON must not round; HASH is 64 lower-case hex digits.
//
// Several operations that came in one request are items of one record, in the order of the request, 1 to 1000 of them;
// other records have no such member. In and out of the record are then sums. An ITEM has one of the forms
//
//	[IN,OUT]  [IN,OUT,CODE]  [IN,OUT,CODE,CAUSE]  [IN,OUT,CODE,CAUSE,KEY_ID]
//
// and ends with the last text that is not empty. No code means that the operation succeeded; no key id means the record's
// own, which is never repeated.
//
// Text is at most 256 bytes in the line, policies 128, an item's code and cause 64 and its key id 128, cut between characters
// and then ended by "…". A line is at most 4608 bytes long without items and 311,618 with them. Controls, line separators and
// the characters that change the direction or the joining of text are written as \uXXXX; invalid UTF-8 becomes U+FFFD.
//
// # Chain
//
// hash is SHA-256 (FIPS 180-4) over the bytes of the line before `,"hash":`. prev is the hash of the line before, headers
// included, across segments; the first line of all has 64 zeros. Sequence numbers count records from 1 without a gap;
// headers have none.
//
// # Durability
//
// One goroutine writes. While it waits for the disk the next records gather; they share one write and one fdatasync.
// Strict durability answers after that sync. Relaxed durability answers at the hand-over and syncs within 50 ms: a power
// cut can lose that much.
//
// After an error of a write or a sync nothing is written any more and everything is refused until the log is opened
// again, since a second sync of the same file may succeed without the data. When no spare can be made, as on a full disk,
// ordinary records are refused once only the reserve is left, long ones before short ones; administrative ones may use it;
// a spare is tried again and again and service resumes by itself. A line never passes the end of its segment: one that does
// not fit opens the next, and the smallest segment has room for any line beside the largest reserve.
//
// synced says which records were on the disk before the line was written. It tells two things apart when a log is
// opened. A write that was cut off leaves the beginning of a line, or, as a disk writes its sectors in any order, zeros
// in place of whole sectors with lines behind them that do not claim the missing ones durable: nothing in it was ever
// answered for, so it is set to zeros and the log goes on. Anything else, such as a line that does not match its hash or
// a hole that a later line claims durable, means that the log was changed or that the disk lost what it had confirmed: the
// log is not opened. A record that is found after a failure says what was attempted: its caller may have been refused.
//
// # What it does not show
//
// A chain does not show that its end was cut off, and who can write the files can write all of it anew from some record
// on. Both are seen only by comparing with what is kept elsewhere: the receipts that callers got.
package audit
