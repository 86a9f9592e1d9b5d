import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;

/** Reports one line for each step, in the form tests/interop/run reads. */
final class Steps {
    /** A broker that is slower than this at anything we ask has failed. */
    static final Duration DEADLINE = Duration.ofSeconds(15);

    interface Step {
        void run() throws Exception;
    }

    private boolean failed = false;

    /** A step that fails is reported and the next one still runs: one run shows all faults. */
    void step(String name, Step step) {
        try {
            step.run();
            System.out.println("ok " + name);
        } catch (Exception | AssertionError error) {
            failed = true;
            Throwable cause = error.getCause() == null ? error : error.getCause();
            String reason = cause.toString().replaceAll("\\s+", " ");
            System.out.println("FAIL " + name + ": " + reason.substring(0, Math.min(500, reason.length())));
            error.printStackTrace();
        }
    }

    boolean failed() {
        return failed;
    }

    static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new AssertionError(otherwise);
        }
    }

    static void requireEqual(Object expected, Object actual) {
        require(Objects.equals(expected, actual), "got " + actual + ", expected " + expected);
    }

    static void requireFailure(Class<? extends Exception> expected, Future<?> future) throws Exception {
        try {
            future.get();
        } catch (ExecutionException failure) {
            requireEqual(expected, failure.getCause().getClass());
            return;
        }
        throw new AssertionError("expected " + expected.getSimpleName());
    }

    /** Waits for a state that a broker reaches on its own, such as a deleted topic being gone. */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + DEADLINE.toNanos();
        while (!condition.call()) {
            require(System.nanoTime() < deadline, "not so after " + DEADLINE.toSeconds() + " s: " + what);
            Thread.sleep(50);
        }
    }
}
