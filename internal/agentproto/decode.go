package agentproto

import "errors"

// ErrUnknown is a request of a type this version does not know. The agent
// answers it with Error (ENOSYS) and goes on.
var ErrUnknown = errors.New("unknown request")

// DecodeRequest decodes what the host sends, except Data, whose payload is the
// data. It is total: whatever the bytes are, it returns a message or an error,
// and nothing in the message refers to p.
func DecodeRequest(t Type, p []byte) (Message, error) {
	switch t {
	case TypeHello:
		return message(decodeHello(p))
	case TypeExec:
		return message(decodeExec(p))
	case TypeSignal:
		return message(decodeSignal(p))
	case TypeResize:
		return message(decodeResize(p))
	case TypeCancel:
		return empty(Cancel{}, p)
	case TypeCopyIn:
		return message(decodeCopyIn(p))
	case TypeCopyOut:
		return message(decodeCopyOut(p))
	case TypeIdentity:
		return message(decodeIdentity(p))
	case TypeClockGet:
		return empty(ClockGet{}, p)
	case TypeCompare:
		return message(decodeClockCompare(p))
	case TypeClockAdjust:
		return message(decodeClockAdjust(p))
	case TypeEntropy:
		return message(decodeEntropy(p))
	case TypeSync:
		return empty(Sync{}, p)
	case TypeShutdown:
		return message(decodeShutdown(p))
	case TypeBind:
		return message(decodeBind(p))
	case TypeStats:
		return empty(Stats{}, p)
	case TypeCredit:
		return message(decodeCredit(p))
	}
	if t.Request() {
		return nil, ErrUnknown
	}
	return nil, violation("not a request")
}

// DecodeReply decodes what the agent sends, except Data. It is total, like
// DecodeRequest.
func DecodeReply(t Type, p []byte) (Message, error) {
	switch t {
	case TypeHello:
		return message(decodeHello(p))
	case TypeCredit:
		return message(decodeCredit(p))
	case TypeOK:
		return empty(OK{}, p)
	case TypeError:
		return message(decodeError(p))
	case TypeExit:
		return message(decodeExit(p))
	case TypeFileInfo:
		return message(decodeFileInfo(p))
	case TypeAck:
		return message(decodeAck(p))
	case TypeClock:
		return message(decodeClock(p))
	case TypeComparison:
		return message(decodeComparison(p))
	case TypeStatsReply:
		return message(decodeStatsReply(p))
	}
	return nil, violation("not a reply")
}

// message drops the half-decoded message when there is an error.
func message[M Message](m M, err error) (Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

func empty(m Message, p []byte) (Message, error) {
	if len(p) != 0 {
		return nil, violation("unexpected payload")
	}
	return m, nil
}
