/* Counting instructions exactly, on any load and without performance counters: a child does the work, and its parent
 * lets it take one instruction after the other (ptrace).
 */
#if defined(__linux__)
#include <signal.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* Instructions of work(arg), with a fixed number more around it; -1 if the host forbids tracing. */
static int64_t count_steps(void (*work)(void *), void *arg)
{
    int64_t steps = 0;
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(1);
        raise(SIGSTOP);
        work(arg);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    while (WIFSTOPPED(status)) {
        int expected = WSTOPSIG(status) == (steps ? SIGTRAP : SIGSTOP); /* not when the work itself fails */
        if (!expected || ptrace(PTRACE_SINGLESTEP, child, 0, 0) || waitpid(child, &status, 0) != child) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        steps++;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? steps : -1;
}
#else
#include <stdint.h>
static int64_t count_steps(void (*work)(void *), void *arg)
{
    return -1;
}
#endif
