package agentd

import (
	"crypto/rand"
	"math"
	"testing"
	"time"
)

func TestStep(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, 999999999, -999999999, 1e9, -1e9, -1500000000, math.MaxInt64, math.MinInt64} {
		tx := step(ns)
		if tx.Time.Usec < 0 || tx.Time.Usec >= 1e9 || tx.Time.Sec*1e9+tx.Time.Usec != ns {
			t.Errorf("%d ns: %+v", ns, tx.Time)
		}
	}
}

// TestLinux does what can be done to any machine without changing it.
func TestLinux(t *testing.T) {
	var sys Linux
	seed := make([]byte, 32)
	rand.Read(seed)
	if err := sys.AddEntropy(seed); err != nil {
		t.Error(err)
	}
	if d := time.Since(time.Unix(0, sys.Realtime())).Abs(); d > time.Minute {
		t.Errorf("the clock is %v off", d)
	}
	if err := sys.Bind("no-such-driver", "no-such-device"); err == nil {
		t.Error("bound nothing to nobody")
	}
	st, err := sys.Stats()
	if err != nil || st.MemAvailable == 0 || st.MemAvailable > st.MemTotal || st.Uptime == 0 || st.Processes == 0 {
		t.Errorf("%+v, %v", st, err)
	}
}
