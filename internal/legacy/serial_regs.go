package legacy

// Register offsets (PC16550D §8.0). With LCR's divisor latch bit set, 0 and 1 are the divisor.
const (
	regData = 0 // RBR, THR
	regIER  = 1
	regIIR  = 2 // FCR when written
	regLCR  = 3
	regMCR  = 4
	regLSR  = 5
	regMSR  = 6
	regSCR  = 7
)

const (
	ierReceive = 1 << 0
	ierTHRE    = 1 << 1
	ierLine    = 1 << 2
	ierModem   = 1 << 3
	// Bits above are zero: Linux tells a 16550A from its successors by them.
	ierMask = 0x0f

	iirNone    = 0x01
	iirModem   = 0x00
	iirTHRE    = 0x02
	iirReceive = 0x04
	iirTimeout = 0x0c
	iirLine    = 0x06
	iirFIFO    = 0xc0

	fcrEnable  = 1 << 0
	fcrClearRX = 1 << 1
	fcrKept    = 0xc9 // trigger level, DMA mode, enable: the rest are commands

	lcrDLAB = 1 << 7

	mcrDTR  = 1 << 0
	mcrRTS  = 1 << 1
	mcrOut1 = 1 << 2
	mcrOut2 = 1 << 3
	mcrLoop = 1 << 4
	mcrMask = 0x1f

	lsrData    = 1 << 0
	lsrOverrun = 1 << 1
	lsrTHRE    = 1 << 5 // both always set: what is written leaves at once
	lsrTEMT    = 1 << 6

	msrDeltas = 0x0f

	msrCTS = 1 << 4
	msrDSR = 1 << 5
	msrRI  = 1 << 6
	msrDCD = 1 << 7

	fifoSize = 16
)

// uart is the register file, without locks and without the world.
type uart struct {
	ier, fcr, lcr, mcr, scr uint8
	divisor                 uint16
	msrDelta                uint8  // MSR[3:0]: what changed since MSR was read
	overrun                 bool   // LSR bit 1
	thrEmpty                bool   // the interrupt "transmitter empty" waits to be taken
	rx                      []byte // received and not read
}

func newUART() uart { return uart{divisor: 1} }

// depth is how many bytes the receiver holds: the FIFO, or one register.
func (u *uart) depth() int {
	if u.fcr&fcrEnable == 0 {
		return 1
	}
	return fifoSize
}

// room is how many bytes can come from outside: none in loopback, where the line is cut.
func (u *uart) room() int {
	if u.mcr&mcrLoop != 0 {
		return 0
	}
	return max(u.depth()-len(u.rx), 0)
}

// receive takes bytes that the caller knows to have room.
func (u *uart) receive(p []byte) { u.rx = append(u.rx, p...) }

// trigger is how many bytes raise the receive interrupt; fewer raise the time-out one.
func (u *uart) trigger() int {
	if u.fcr&fcrEnable == 0 {
		return 1
	}
	return [4]int{1, 4, 8, 14}[u.fcr>>6]
}

// pending is the interrupt with the highest priority (PC16550D table IV). The time-out comes at once, not after four
// characters' time: nobody gains from the wait.
func (u *uart) pending() uint8 {
	switch {
	case u.ier&ierLine != 0 && u.overrun:
		return iirLine
	case u.ier&ierReceive != 0 && len(u.rx) >= u.trigger():
		return iirReceive
	case u.ier&ierReceive != 0 && len(u.rx) > 0:
		return iirTimeout
	case u.ier&ierTHRE != 0 && u.thrEmpty:
		return iirTHRE
	case u.ier&ierModem != 0 && u.msrDelta != 0:
		return iirModem
	}
	return iirNone
}

// modem is MSR[7:4]: a terminal that is always there, or in loopback the outputs (PC16550D §8.6.4).
func (u *uart) modem() uint8 {
	if u.mcr&mcrLoop == 0 {
		return msrCTS | msrDSR | msrDCD
	}
	var m uint8
	for _, w := range [...]struct{ out, in uint8 }{{mcrRTS, msrCTS}, {mcrDTR, msrDSR}, {mcrOut1, msrRI}, {mcrOut2, msrDCD}} {
		if u.mcr&w.out != 0 {
			m |= w.in
		}
	}
	return m
}

func (u *uart) read(reg uint16) uint8 {
	if u.lcr&lcrDLAB != 0 && reg <= regIER {
		return uint8(u.divisor >> (8 * reg))
	}
	switch reg {
	case regData:
		if len(u.rx) == 0 {
			return 0
		}
		b := u.rx[0]
		u.rx = u.rx[:copy(u.rx, u.rx[1:])]
		return b
	case regIER:
		return u.ier
	case regIIR:
		id := u.pending()
		if id == iirTHRE { // reading it is taking it
			u.thrEmpty = false
		}
		if u.fcr&fcrEnable != 0 {
			id |= iirFIFO
		}
		return id
	case regLCR:
		return u.lcr
	case regMCR:
		return u.mcr
	case regLSR:
		v := uint8(lsrTHRE | lsrTEMT)
		if len(u.rx) > 0 {
			v |= lsrData
		}
		if u.overrun {
			v |= lsrOverrun
			u.overrun = false
		}
		return v
	case regMSR:
		v := u.modem() | u.msrDelta
		u.msrDelta = 0
		return v
	}
	return u.scr
}

// write reports whether v goes out on the line.
func (u *uart) write(reg uint16, v uint8) (sent bool) {
	if u.lcr&lcrDLAB != 0 && reg <= regIER {
		shift := 8 * reg
		u.divisor = u.divisor&^(0xff<<shift) | uint16(v)<<shift
		return false
	}
	switch reg {
	case regData:
		return u.transmit(v)
	case regIER:
		// Turning the transmit interrupt on asks for one at once, since there is always room. Linux tests exactly this, and
		// polls with a timer where it does not happen.
		if v&ierTHRE != 0 && u.ier&ierTHRE == 0 {
			u.thrEmpty = true
		}
		u.ier = v & ierMask
	case regIIR:
		if (u.fcr^v)&fcrEnable != 0 || v&fcrClearRX != 0 {
			u.rx = nil
		}
		u.fcr = v & fcrKept
		if v&fcrEnable == 0 {
			u.fcr = 0 // the other bits are taken only together with it
		}
	case regLCR:
		u.lcr = v
	case regMCR:
		before := u.modem()
		u.mcr = v & mcrMask
		u.modemChanged(before)
	case regSCR:
		u.scr = v
	}
	return false
}

func (u *uart) transmit(v uint8) (sent bool) {
	u.thrEmpty = true // gone already
	if u.mcr&mcrLoop == 0 {
		return true
	}
	if len(u.rx) >= u.depth() {
		u.overrun = true
		return false
	}
	u.rx = append(u.rx, v)
	return false
}

// modemChanged sets MSR[3:0]: a change of CTS, DSR and DCD, and the end of RI.
func (u *uart) modemChanged(before uint8) {
	now := u.modem()
	u.msrDelta |= (before ^ now) >> 4 & 0xb
	u.msrDelta |= (before &^ now) >> 4 & 0x4
}
