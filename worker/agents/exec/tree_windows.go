package exec

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tree is a program and what it has started: a job object. Processes cannot leave
// it, and the system ends them when its last handle is closed, which is when this
// process ends, however it does.
type tree struct {
	pid uint32
	job windows.Handle // 0: none could be made
}

// attributes put the program into a console group of its own, which can be told
// to stop.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// watch takes a started program into the care of this process.
func watch(program *os.Process, _ string) tree {
	t := tree{pid: uint32(program.Pid)}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return t
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err == nil {
		err = join(job, t.pid)
	}
	if err != nil {
		_ = windows.CloseHandle(job)
		return t
	}
	t.job = job
	return t
}

func join(job windows.Handle, pid uint32) error {
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, pid)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(process) }()
	return windows.AssignProcessToJobObject(job, process)
}

// stop asks the processes to end: Ctrl-Break, the nearest thing to SIGTERM.
func (t tree) stop() { _ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, t.pid) }

// kill ends the processes.
func (t tree) kill() {
	if t.job != 0 {
		_ = windows.TerminateJobObject(t.job, 1)
		return
	}
	if p, err := os.FindProcess(int(t.pid)); err == nil {
		_ = p.Kill()
	}
}

// end ends what the program, which has ended, has left behind.
func (t tree) end() {
	if t.job == 0 {
		return
	}
	_ = windows.TerminateJobObject(t.job, 1)
	_ = windows.CloseHandle(t.job)
}

// Adopt does nothing: a job object holds what programs leave behind.
func Adopt() {}

// available has nothing: a pipe here ends with the processes that hold it.
func available(uintptr, []byte) (int, error) { return 0, io.EOF }
