package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	ms := func(list ...time.Duration) []time.Duration {
		for i := range list {
			list[i] *= time.Millisecond
		}
		return list
	}
	for _, c := range []struct {
		values, others []time.Duration
		budget         float64
		ratio, verdict string
	}{
		{ms(1, 900, 2), ms(40), 1.0 / 20, "1/20", "met"},
		{ms(3), ms(40), 1.0 / 20, "1/13.3", "NOT MET"},
		{ms(3, 5), ms(2), 1.5, "2.00 ×", "NOT MET"},
		{ms(3), ms(2), 0, "1.50 ×", ""},
	} {
		r := compare("claim", c.values, "other", c.others, c.budget)
		if r.Ratio != c.ratio || r.verdict() != c.verdict {
			t.Errorf("%v against %v: %s, %q; want %s, %q", c.values, c.others, r.Ratio, r.verdict(), c.ratio, c.verdict)
		}
	}
}

func TestParse(t *testing.T) {
	if o, err := parse([]string{"-only", "engine,guest", "-n", "3"}); err != nil || len(o.parts) != 2 || o.n != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-only", "everything"}, {"-n", "0"}, {"guest"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestCollect(t *testing.T) {
	var r result
	text := `{"Machine":{"Processor":"p"}}` + "\n" + `{"Row":{"Claim":"c","OK":true}}` + "\n" + `{"Curves":[{"Name":"n","Points":[{"VMs":1,"Bytes":2}]}]}` + "\n"
	if err := collect(strings.NewReader(text), r.take); err != nil {
		t.Fatal(err)
	}
	want := result{machine: Machine{Processor: "p"}, rows: []Row{{Claim: "c", OK: true}}, curves: []curve{{"n", []point{{1, 2}}}}}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(result{})); diff != "" {
		t.Error(diff)
	}
	if err := collect(strings.NewReader("panic: x\n"), r.take); err == nil {
		t.Error("what is not JSON was accepted")
	}
}

// TestPicture: whatever the figures, the picture is well-formed and shows every point.
func TestPicture(t *testing.T) {
	for _, curves := range [][]curve{nil, {{"a < b", []point{{10, 5 << 20}, {100, 50 << 20}}}, {"c", []point{{1, -4}}}}} {
		var b bytes.Buffer
		if err := drawCurves(&b, "title", curves); err != nil {
			t.Fatal(err)
		}
		var points int
		for d := xml.NewDecoder(&b); ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
				points++
			}
		}
		if len(curves) > 0 && points != 3 {
			t.Errorf("%d points", points)
		}
	}
}

func TestQMP(t *testing.T) {
	const greeting = `{"QMP": {"version": {}}}` + "\n" + `{"return": {}}` + "\n"
	for _, c := range []struct{ name, answers, want string }{
		{"completed", `{"event": "MIGRATION", "data": {"status": "setup"}}
{"return": {}}
{"event": "STOP"}
{"event": "MIGRATION", "data": {"status": "completed"}}
`, ""},
		{"completed before the reply", `{"event": "MIGRATION", "data": {"status": "completed"}}
{"return": {}}
`, ""},
		{"failed", `{"return": {}}
{"event": "MIGRATION", "data": {"status": "failed"}}
`, "migration failed"},
		{"refused", `{"error": {"class": "GenericError", "desc": "no such thing"}}
`, "no such thing"},
		{"lost", `{"return": {}}
`, "connection lost"},
	} {
		var sent bytes.Buffer
		q, err := newQMP(strings.NewReader(greeting+c.answers), &sent)
		if err != nil {
			t.Fatal(err)
		}
		err = q.migrate("exec:true")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if !strings.Contains(sent.String(), `"execute":"qmp_capabilities"`) || !strings.Contains(sent.String(), `"uri":"exec:true"`) {
			t.Errorf("%s: sent %s", c.name, sent.String())
		}
	}
	if _, err := newQMP(strings.NewReader("{}\n"), io.Discard); err == nil {
		t.Error("a peer that does not greet was accepted")
	}
}

func TestQMPStatus(t *testing.T) {
	answers := `{"QMP": {}}
{"return": {}}
{"return": {"status": "finish-migrate"}}
{"event": "STOP"}
{"return": {"status": "postmigrate"}}
`
	q, err := newQMP(strings.NewReader(answers), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.awaitStatus(t.Context(), "postmigrate"); err != nil {
		t.Error(err)
	}
	if err := q.awaitStatus(t.Context(), "running"); err == nil {
		t.Error("a lost connection is no status")
	}
}
