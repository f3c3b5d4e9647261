package classify_test

import (
	"encoding/hex"
	"reflect"
	"regexp"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/classify"
)

// TestStoredForm reads and writes layers as replicated state does.
func TestStoredForm(t *testing.T) {
	for _, def := range classify.Defaults() {
		data, err := command.Marshal(&def.Layers)
		if err != nil {
			t.Fatal(err)
		}
		var got classify.Layers
		if err := command.Unmarshal(data, &got); err != nil {
			t.Fatalf("%s: %v", def.Name, err)
		}
		if !reflect.DeepEqual(got, def.Layers) {
			t.Errorf("%s: %+v came back", def.Name, got)
		}
	}
}

// TestStoredBytes holds one record that stays readable for good: the fields' numbers and words are persisted.
func TestStoredBytes(t *testing.T) {
	l := classify.Layers{
		DataIdentity: classify.DataIdentity{
			Category: classify.Health, Subcategory: "a", Sensitivity: classify.SensitivityLow, UsageContext: classify.InUse,
			PII: true, PHI: true, PCI: true, NotificationRequired: true, Examples: []string{"b"},
		},
		Regulatory: classify.Regulatory{
			Frameworks:         []string{"c"},
			DataResidency:      classify.Residency{AllowedRegions: []string{"d"}, ProhibitedRegions: []string{"e"}},
			Retention:          classify.Retention{MinimumDays: 1, MaximumDays: 2, DeletionMethod: classify.DeletionStandard},
			CrossBorderAllowed: true,
		},
		ThreatModel: classify.ThreatModel{
			Adversaries: []classify.Adversary{classify.InsiderThreat}, AttackVectors: []string{"f"}, ProtectionLifetimeDays: 3,
		},
		AccessPatterns: classify.AccessPatterns{
			Frequency: classify.FrequencyRare, OperationsPerSecond: 4, LatencyRequirementMS: 5, BatchOperations: true, SearchRequired: true,
		},
	}
	const want = "a401a901666865616c746802616103636c6f770466696e5f75736505f506f507f508f509816162" +
		"02a40181616302a2018161640281616503a30101020203687374616e6461726404f5" +
		"03a301816e696e73696465725f74687265617402816166030304a50164726172650204030504f505f5"
	data, err := command.Marshal(&l)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(data); got != want {
		t.Errorf("stored as %s", got)
	}
}

// TestStoredFieldsAreNumbered walks all fields: each has a number of its own, may be absent, and holds no float.
func TestStoredFieldsAreNumbered(t *testing.T) {
	tag := regexp.MustCompile(`^([1-9][0-9]*),keyasint,omitempty$`)
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		seen := map[string]bool{}
		for field := range typ.Fields() {
			number := tag.FindStringSubmatch(field.Tag.Get("cbor"))
			if number == nil || seen[number[1]] {
				t.Errorf("%s.%s has the tag %q", typ.Name(), field.Name, field.Tag)
				continue
			}
			seen[number[1]] = true
			kind := field.Type
			if kind.Kind() == reflect.Slice {
				kind = kind.Elem()
			}
			switch kind.Kind() {
			case reflect.Struct:
				walk(kind)
			case reflect.String, reflect.Bool, reflect.Uint32:
			default:
				t.Errorf("%s.%s is a %s", typ.Name(), field.Name, kind)
			}
		}
	}
	walk(reflect.TypeFor[classify.Layers]())
}
