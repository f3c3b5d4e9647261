package command

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Version is the version of the envelope and of every command body in it. Once a version of the program is released, a
// body gets a new field by a new command type or a new version, never in place: an older program must be able to tell that
// it does not understand. Until then a record may gain optional fields, whose absence leaves the bytes as they were.
const Version = 1

var (
	// ErrUnknown is a command that a newer program wrote: its version or its type is not known here. The error names
	// both numbers. A node that meets one in the log must stop, since it cannot know what the command changed.
	ErrUnknown = errors.New("unknown command")
	// ErrMalformed is an encoding that no program of any version writes.
	ErrMalformed = errors.New("malformed command")
)

// envelope is what a command looks like in the log: the map {1: version, 2: type, 3: body}. Its shape never changes, so
// that every program can read the numbers of every command.
type envelope struct {
	Version uint64 `cbor:"1,keyasint"`
	Type    uint64 `cbor:"2,keyasint"`
	Body    []byte `cbor:"3,keyasint"`
}

// decoders holds, by type, what turns a body into its command. A test walks all types, so that none is missing.
var decoders = [typeEnd]func([]byte) (Command, error){
	TypeCreateCluster:           decode[CreateCluster],
	TypeCreateTenant:            decode[CreateTenant],
	TypeCreateContext:           decode[CreateContext],
	TypeRotateContext:           decode[RotateContext],
	TypeCreateApplication:       decode[CreateApplication],
	TypeCreateUser:              decode[CreateUser],
	TypeCreateSession:           decode[CreateSession],
	TypeCreateRefresh:           decode[CreateRefresh],
	TypeRotateRefresh:           decode[RotateRefresh],
	TypeLeaseUsage:              decode[LeaseUsage],
	TypeCreateKey:               decode[CreateKey],
	TypeRotateKey:               decode[RotateKey],
	TypeSetKeyDisabled:          decode[SetKeyDisabled],
	TypeCreateImport:            decode[CreateImport],
	TypeImportLegacy:            decode[ImportLegacy],
	TypeGuarded:                 decode[Guarded],
	TypeSetTenantStatus:         decode[SetTenantStatus],
	TypeScheduleTenantDeletion:  decode[ScheduleTenantDeletion],
	TypeDeleteTenant:            decode[DeleteTenant],
	TypeChangeSettings:          decode[ChangeSettings],
	TypeChangeApplication:       decode[ChangeApplication],
	TypeSetApplicationStatus:    decode[SetApplicationStatus],
	TypeSetApplicationKey:       decode[SetApplicationKey],
	TypeRevokeApplicationTokens: decode[RevokeApplicationTokens],
	TypeDeleteApplication:       decode[DeleteApplication],
	TypeRevokeRefresh:           decode[RevokeRefresh],
	TypeSetUserRoles:            decode[SetUserRoles],
	TypeSetUserStatus:           decode[SetUserStatus],
	TypeDeleteUser:              decode[DeleteUser],
	TypeSetPassword:             decode[SetPassword],
	TypeTouchSession:            decode[TouchSession],
	TypeEndSession:              decode[EndSession],
	TypeEndSessions:             decode[EndSessions],
	TypeCreateInvitation:        decode[CreateInvitation],
	TypeDropInvitation:          decode[DropInvitation],
	TypeAcceptInvitation:        decode[AcceptInvitation],
	TypeCreateDevice:            decode[CreateDevice],
	TypeDecideDevice:            decode[DecideDevice],
	TypeRedeemDevice:            decode[RedeemDevice],
	TypePutPolicy:               decode[PutPolicy],
	TypeDeletePolicy:            decode[DeletePolicy],
	TypeChangeContext:           decode[ChangeContext],
	TypeSetContextStatus:        decode[SetContextStatus],
	TypeDeleteContext:           decode[DeleteContext],
	TypeSetVersionState:         decode[SetVersionState],
	TypeScheduleDestruction:     decode[ScheduleDestruction],
	TypeDestroyVersion:          decode[DestroyVersion],
	TypeSetMinimumVersion:       decode[SetMinimumVersion],
	TypeMergeUsage:              decode[MergeUsage],
	TypeSetKeyRotation:          decode[SetKeyRotation],
	TypeRequestApproval:         decode[RequestApproval],
	TypeDecideApproval:          decode[DecideApproval],
	TypeCancelApproval:          decode[CancelApproval],
	TypeTick:                    decode[Tick],
	TypeOnce:                    decode[Once],
	TypeAddMember:               decode[AddMember],
	TypeCreateJoinInvitation:    decode[CreateJoinInvitation],
	TypeDropJoinInvitation:      decode[DropJoinInvitation],
	TypeRequestJoin:             decode[RequestJoin],
	TypeDecideJoin:              decode[DecideJoin],
	TypeCompleteJoin:            decode[CompleteJoin],
	TypeRemoveMember:            decode[RemoveMember],
	TypeUpdateMember:            decode[UpdateMember],
	TypeFinaliseVersion:         decode[FinaliseVersion],
	TypeSetBackupSchedule:       decode[SetBackupSchedule],
	TypeRecordBackup:            decode[RecordBackup],
	TypeResetMembers:            decode[ResetMembers],
}

func decode[C Command](body []byte) (Command, error) {
	var c C
	if err := Unmarshal(body, &c); err != nil {
		return nil, err
	}
	return c, nil
}

// Encode returns the envelope of a command, given as a value or as a pointer. Equal commands give equal bytes.
func Encode(c Command) ([]byte, error) {
	if c == nil || (reflect.ValueOf(c).Kind() == reflect.Pointer && reflect.ValueOf(c).IsNil()) {
		return nil, fmt.Errorf("%w: there is none", ErrMalformed)
	}
	t := c.Type()
	if t == TypeUnknown || t >= typeEnd {
		return nil, fmt.Errorf("%w: type %d", ErrUnknown, t)
	}
	body, err := Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command of type %d: %w", t, err)
	}
	return Marshal(envelope{Version: Version, Type: uint64(t), Body: body})
}

// Decode returns the command, as a value, that an envelope holds. It accepts exactly the bytes that Encode makes:
// anything else gives ErrMalformed, and a version or type from a later program gives ErrUnknown.
func Decode(data []byte) (Command, error) { return decodeIn(TypeUnknown, data) }

// decodeIn decodes a command that stands in one of the type outer, TypeUnknown when it stands by itself.
func decodeIn(outer Type, data []byte) (Command, error) {
	var e envelope
	if err := Unmarshal(data, &e); err != nil {
		return nil, err
	}
	if e.Version != Version || e.Type == uint64(TypeUnknown) || e.Type >= uint64(typeEnd) || Since(Type(e.Type)) > Newest() {
		return nil, fmt.Errorf("%w of version %d and type %d: this program knows version %d and types 1 to %d, up to command version %d; "+
			"the node needs a newer program", ErrUnknown, e.Version, e.Type, Version, typeEnd-1, Newest())
	}
	if !mayHold(outer, Type(e.Type)) {
		return nil, fmt.Errorf("%w: a command of type %d in one of type %d", ErrMalformed, e.Type, outer)
	}
	c, err := decoders[e.Type](e.Body)
	if err != nil {
		return nil, fmt.Errorf("type %d: %w", e.Type, err)
	}
	if n, ok := c.(nesting); ok {
		if _, err := n.Inner(); err != nil {
			return nil, fmt.Errorf("type %d: %w", e.Type, err)
		}
	}
	return c, nil
}

// nesting is a command that holds another one. Decode reads that too, so that a node stops at the entry that brings what it
// does not know, and not when it is carried out.
type nesting interface{ Inner() (Command, error) }

// Inner returns the command that is guarded.
func (g Guarded) Inner() (Command, error) { return decodeIn(TypeGuarded, g.Command) }

// Inner returns the command that takes effect once.
func (o Once) Inner() (Command, error) { return decodeIn(TypeOnce, o.Command) }

// Inner returns the command that waits for approval.
func (r RequestApproval) Inner() (Command, error) {
	return decodeIn(TypeRequestApproval, r.Approval.Command)
}

// mayHold bounds how deep commands stand in each other: at most four, a guarded request for approval of an act, made once. It
// is asked before a body is read, so that no chain of them is followed to its end. A tick and what takes effect once stand in
// nothing else.
func mayHold(outer, inside Type) bool {
	switch outer {
	case TypeOnce:
		return inside != TypeOnce && inside != TypeTick
	case TypeGuarded:
		return inside != TypeGuarded && inside != TypeOnce && inside != TypeTick
	case TypeRequestApproval:
		return inside != TypeGuarded && inside != TypeRequestApproval && inside != TypeOnce && inside != TypeTick
	default:
		return true
	}
}

var encoding, decoding = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(fmt.Sprintf("command: options of the encoder: %v", err)) // constant options
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("command: options of the decoder: %v", err)) // constant options
	}
	return enc, dec
}

// Marshal returns the deterministic encoding of a command body or of a record: core deterministic CBOR (RFC 8949 section
// 4.2.1) with integer keys. Equal values give equal bytes, so that what is encoded can be hashed and compared.
func Marshal(v any) ([]byte, error) { return encoding.Marshal(v) }

// Unmarshal reads what Marshal wrote into v, which must be a pointer to a zero value. It is strict: an unknown or missing
// field, a duplicate key, a tag, an indefinite length, trailing bytes or any encoding but the one that Marshal gives is
// ErrMalformed.
func Unmarshal(data []byte, v any) error {
	if err := decoding.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encoding.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not in the deterministic encoding", ErrMalformed)
	}
	return nil
}

// First reads the first value of a sequence of encoded values into v, as strictly as Unmarshal, and returns the rest.
func First(data []byte, v any) (rest []byte, err error) {
	var raw cbor.RawMessage
	rest, err = decoding.UnmarshalFirst(data, &raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return rest, Unmarshal(raw, v)
}
