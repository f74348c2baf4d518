package jsontree_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/internal/jsontree"
)

func mustParse(t *testing.T, s string) *jsontree.Value {
	t.Helper()
	v, err := jsontree.Parse([]byte(s))
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return v
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		name, body string
		want       error
	}{
		{"empty", "", jsontree.ErrSyntax},
		{"space", " \n", jsontree.ErrSyntax},
		{"word", "secret", jsontree.ErrSyntax},
		{"cut object", `{"a":1`, jsontree.ErrSyntax},
		{"cut list", `[1,`, jsontree.ErrSyntax},
		{"cut string", `"a`, jsontree.ErrSyntax},
		{"comma at the end", `[1,]`, jsontree.ErrSyntax},
		{"name is no string", `{1:2}`, jsontree.ErrSyntax},
		{"wrong bracket", `[1}`, jsontree.ErrSyntax},
		{"number", `[01]`, jsontree.ErrSyntax},
		{"trailing value", `{} {}`, jsontree.ErrSyntax},
		{"trailing bytes", `{} x`, jsontree.ErrSyntax},
		{"duplicate name", `{"a":1,"b":{"c":1,"c":2}}`, jsontree.ErrSyntax},
		{"duplicate name by escape", `{"a":1,"\u0061":2}`, jsontree.ErrSyntax},
		{"invalid utf-8", "{\"a\":\"\xff\"}", jsontree.ErrSyntax},
		{"invalid utf-8 in a name", "{\"\xc3\":1}", jsontree.ErrSyntax},
		{"lone surrogate", `["\ud800"]`, jsontree.ErrSyntax},
		{"byte order mark", "\ufeff{}", jsontree.ErrSyntax},
		{"too deep", deep(jsontree.MaxDepth + 1), jsontree.ErrDepth},
		{"far too deep", deep(1 << 20), jsontree.ErrDepth},
		{"too many", "[" + strings.Repeat("0,", jsontree.MaxValues) + "0]", jsontree.ErrValues},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := jsontree.Parse([]byte(tt.body))
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Error("error quotes the input")
			}
		})
	}
	mustParse(t, deep(jsontree.MaxDepth))
}

func TestGetters(t *testing.T) {
	t.Parallel()
	v := mustParse(t, `{"s":" text ","n":1.50,"i":"12","f":12.0,"big":9007199254740993,"huge":1e999,"t":true,"yes":"Yes",
		"zero":0,"null":null,"l":[1,"a",{"x":[]}],"o":{"p":{"q":"deep"}},"esc":"\u0041\n\ud83d\ude00"}`)
	for name, want := range map[string]string{
		"s": "text", "n": "1.50", "t": "true", "null": "", "l": "", "o": "", "missing": "", "esc": "A\n😀", "huge": "1e999",
	} {
		if got := v.Get(name).Text(); got != want {
			t.Errorf("%s: Text = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]int64{"i": 12, "f": 12, "big": 9007199254740993, "zero": 0} {
		if got, ok := v.Get(name).Int(); !ok || got != want {
			t.Errorf("%s: Int = %d %t, want %d", name, got, ok, want)
		}
	}
	for _, name := range []string{"s", "n", "huge", "t", "null", "l", "o", "missing"} {
		if got, ok := v.Get(name).Int(); ok || got != 0 {
			t.Errorf("%s: Int = %d %t, want none", name, got, ok)
		}
	}
	if f, ok := v.Get("n").Float(); !ok || f != 1.5 {
		t.Errorf("Float = %v %t", f, ok)
	}
	for _, name := range []string{"huge", "s", "null"} {
		if f, ok := v.Get(name).Float(); ok || f != 0 {
			t.Errorf("%s: Float = %v %t, want none", name, f, ok)
		}
	}
	for name, want := range map[string]bool{"t": true, "yes": true, "zero": false} {
		if got, ok := v.Get(name).Bool(); !ok || got != want {
			t.Errorf("%s: Bool = %t %t, want %t", name, got, ok, want)
		}
	}
	if _, ok := v.Get("n").Bool(); ok {
		t.Error("1.50 is a truth value")
	}
	if got := v.Get("o", "p", "q").Text(); got != "deep" {
		t.Errorf("path = %q", got)
	}
	if v.Get("s", "p") != nil || v.Get("l", "p") != nil || v.Get("l").Members() != nil || v.Get("o").Items() != nil {
		t.Error("an odd type has members or items")
	}
	if got := v.First("missing", "null", "zero").Text(); got != "0" {
		t.Errorf("First = %q, want 0", got)
	}
	if v.First("missing", "null") != nil {
		t.Error("First of nothing is something")
	}
	if got := string(v.Get("l").Items()[2].Value.Raw()); got != `{"x":[]}` {
		t.Errorf("Raw = %q", got)
	}
	var none *jsontree.Value
	if none.Raw() != nil || none.Kind() != jsontree.Null || none.Get("a") != nil || none.Any() != nil {
		t.Error("a missing value is something")
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 2, 14, 22, 25, 8, 0, time.UTC)
	for body, want := range map[string]time.Time{
		`1739571908123`:                    at.Add(123 * time.Millisecond),
		`"1739571908123"`:                  at.Add(123 * time.Millisecond),
		`1739571908`:                       at,
		`1739571908.5`:                     at.Add(500 * time.Millisecond),
		`"2025-02-14T22:25:08Z"`:           at,
		`"2025-02-14T23:25:08.250+01:00"`:  at.Add(250 * time.Millisecond),
		`"2025-02-14T22:25:08"`:            at,
		`"2025-02-14 22:25:08"`:            at,
		`"2025-02-14 22:25:08+00:00"`:      at,
		`"2025-02-14"`:                     at.Truncate(24 * time.Hour),
		`"2025-02-14T22:25:08.123456789Z"`: at.Add(123456789),
		`0`:                                {},
		`""`:                               {},
		`"soon"`:                           {},
		`true`:                             {},
		`null`:                             {},
		`[1739571908123]`:                  {},
		`1e300`:                            {},
		`-1e15`:                            {},
		`300000000000000`:                  {},
		`"9999-12-31T23:59:59-23:00"`:      {},
		`"0000-01-01T00:00:00Z"`:           {},
		`"0001-01-01T00:00:00Z"`:           {},
	} {
		got, ok := mustParse(t, body).Time()
		if ok == want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%s: Time = %v %t, want %v", body, got, ok, want)
		}
		if ok && got.Location() != time.UTC {
			t.Errorf("%s: not in UTC", body)
		}
	}
}

func TestAny(t *testing.T) {
	t.Parallel()
	got := mustParse(t, `{"a":[1,2.5,"x",true,null,{}],"big":9007199254740993,"limit":9007199254740991,"huge":1e999}`).Any()
	want := map[string]any{
		"a": []any{1.0, 2.5, "x", true, nil, map[string]any{}}, "big": "9007199254740993",
		"limit": 9007199254740991.0, "huge": "1e999",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Any (-want +got):\n%s", diff)
	}
}

func TestNested(t *testing.T) {
	t.Parallel()
	v := mustParse(t, `{"o":{"a":1},"s":" {\"a\":1}","l":"[2]","t":"text","bad":"{","n":1}`)
	for name, want := range map[string]string{
		"o": `{"a":1}`, "s": `{"a":1}`, "l": `[2]`, "t": "null", "bad": "null", "missing": "null", "n": "1",
	} {
		if got := string(v.Get(name).Nested().Canonical()); got != want {
			t.Errorf("%s: Nested = %s, want %s", name, got, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	const want = `{"A":"é/<\"\n","a":[1.50,-0,1E3,{"x":null,"y":true}],"é":{}}`
	for _, body := range []string{
		want,
		` { "é" : { } , "a":[ 1.50,-0,1E3,{"y":true,"x":null}],"A":"\u00e9\/\u003c\u0022\u000A"}`,
	} {
		if got := string(mustParse(t, body).Canonical()); got != want {
			t.Errorf("Canonical = %s, want %s", got, want)
		}
	}
	v := mustParse(t, `{"id":1,"attempt":2,"data":{"attempt":3,"list":[{"n":1,"at":2},{"at":3}]},"data.list":4}`)
	if got, want := string(v.Canonical("attempt", "data.list.at", "none.such")),
		`{"data":{"attempt":3,"list":[{"n":1},{}]},"data.list":4,"id":1}`; got != want {
		t.Errorf("Canonical without fields = %s, want %s", got, want)
	}
	if got, want := string(v.CanonicalOf(jsontree.AsSent, "id", "missing")), `{"id":1}`; got != want {
		t.Errorf("CanonicalOf = %s, want %s", got, want)
	}
}

// TestCanonicalNumbers: want is what JavaScript prints, except for what it cannot read.
func TestCanonicalNumbers(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0", "0e5": "0", "1e-400": "0", "-1e-400": "0", "7": "7", "-7": "-7", "12.0": "12", "1e3": "1000", "1E+3": "1000",
		"0.10": "0.1", "1.50": "1.5", "-2.50e-1": "-0.25", "999999999999999": "999999999999999", "-99999999999999": "-99999999999999",
		"9007199254740991": "9007199254740991", "9007199254740993": "9007199254740992", "12345678901234567890": "12345678901234567000",
		"1e20": "100000000000000000000", "1e21": "1e+21", "123e20": "1.23e+22", "1e100": "1e+100", "0.000001": "0.000001", "0.0000001": "1e-7",
		"0.00000000015": "1.5e-10", "5e-324": "5e-324", "0.1000000000000000055511151231257827": "0.1",
		"1.7976931348623157e308": "1.7976931348623157e+308", "1e999": "1e999", "-1E999": "-1E999",
	} {
		v := mustParse(t, `{"a":[`+sent+`],"b":1.0}`)
		if got := string(v.CanonicalOf(jsontree.AsFloat64, "a")); got != `{"a":[`+want+`]}` {
			t.Errorf("%s: AsFloat64 = %s, want %s", sent, got, want)
		}
		if got := string(v.CanonicalOf(jsontree.AsSent, "a")); got != `{"a":[`+sent+`]}` {
			t.Errorf("%s: AsSent = %s", sent, got)
		}
	}
}

// sameFloats checks that the canonical form by float64 is stable and that encoding/json reads the same out of it
// as out of the body.
func sameFloats(t *testing.T, v *jsontree.Value) {
	t.Helper()
	var names []string
	for _, m := range v.Members() {
		names = append(names, m.Name)
	}
	c := v.CanonicalOf(jsontree.AsFloat64, names...)
	again, err := jsontree.Parse(c)
	if err != nil || !bytes.Equal(c, again.CanonicalOf(jsontree.AsFloat64, names...)) {
		t.Fatalf("canonical form by float64 is not stable: %v", err)
	}
	var sent, got any
	if len(names) == 0 || json.Unmarshal(v.Raw(), &sent) != nil { // a number overflows
		return
	}
	if err := json.Unmarshal(c, &got); err != nil || !cmp.Equal(sent, got) {
		t.Fatalf("canonical form by float64 means something else: %v\n%s", err, cmp.Diff(sent, got))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,"b",null,true,{"c":-1.5e3}]}`, `"\ud83d\ude00"`, ` [ ] `, `{"a":1,"a":2}`, `"[1]"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := jsontree.Parse(body)
		if err != nil {
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Fatal("accepted what is no JSON")
		}
		c := v.Canonical()
		again, err := jsontree.Parse(c)
		if err != nil || !bytes.Equal(c, again.Canonical()) {
			t.Fatalf("canonical form is not stable: %v", err)
		}
		if diff := cmp.Diff(v.Any(), again.Any()); diff != "" {
			t.Fatalf("canonical form means something else:\n%s", diff)
		}
		sameFloats(t, v)
		if _, err := json.Marshal(v.Any()); err != nil {
			t.Fatalf("Any does not encode: %v", err)
		}
		if at, ok := v.Time(); ok {
			if _, err := at.MarshalJSON(); err != nil {
				t.Fatalf("Time does not encode: %v", err)
			}
		}
		v.Nested()
	})
}
