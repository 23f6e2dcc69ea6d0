package eventfd

import "testing"

// TestBell: a ring wakes the one who waits, and one that came before is not lost.
func TestBell(t *testing.T) {
	b, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Ring()
	b.Wait()
	woken := make(chan struct{})
	go func() { b.Wait(); close(woken) }()
	b.Ring()
	<-woken
}
