package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

/** A headless Chromium, driven through chromedriver (W3C WebDriver). */
final class Browser implements AutoCloseable {
  private static final Pattern STARTED = Pattern.compile("started successfully on port (\\d+)");

  private final Process driver;
  private final String base;
  private String session;

  private Browser(Process driver, int port) {
    this.driver = driver;
    base = "http://127.0.0.1:" + port;
  }

  /** Starts a browser, or ends the test as skipped where there is none. */
  static Browser start(Path profile) throws IOException {
    Assumptions.assumeTrue(
        onPath("chromedriver") && (onPath("chromium") || onPath("google-chrome")),
        "no chromium and chromedriver on the PATH (Debian: chromium chromium-driver)");
    ProcessBuilder builder =
        new ProcessBuilder("chromedriver", "--port=0").redirectErrorStream(true);
    builder.environment().put("TMPDIR", profile.toString());
    Process driver = builder.start();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(driver.getInputStream(), StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      Matcher matcher = STARTED.matcher(line);
      if (matcher.find()) {
        Browser browser = new Browser(driver, Integer.parseInt(matcher.group(1)));
        browser.open(profile);
        return browser;
      }
    }
    throw new IOException("chromedriver ended without a word about its port");
  }

  private static boolean onPath(String program) {
    return Pattern.compile(":")
        .splitAsStream(System.getenv("PATH"))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
  }

  private void open(Path profile) throws IOException {
    List<String> flags =
        List.of(
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--user-data-dir=" + profile);
    Map<String, Object> wishes =
        Map.of(
            "browserName",
            "chrome",
            "goog:chromeOptions",
            Map.of("args", flags),
            "goog:loggingPrefs",
            Map.of("browser", "ALL"));
    try {
      JsonObject made =
          JsonObject.of(
              send("/session", Map.of("capabilities", Map.of("alwaysMatch", wishes))), "session");
      session = "/session/" + made.getString("sessionId");
    } catch (IOException e) {
      close();
      throw e;
    }
  }

  /** Shows a file. */
  void show(Path page) throws IOException {
    send(session + "/url", Map.of("url", page.toUri().toString()));
  }

  /** Pretends a screen: its width and height, and whether it is dark. */
  void screen(int width, int height, boolean dark) throws IOException {
    cdp(
        "Emulation.setDeviceMetricsOverride",
        Map.of("width", width, "height", height, "deviceScaleFactor", 1, "mobile", width < 600));
    cdp(
        "Emulation.setEmulatedMedia",
        Map.of(
            "features",
            List.of(Map.of("name", "prefers-color-scheme", "value", dark ? "dark" : "light"))));
  }

  private Object cdp(String command, Map<String, Object> parameters) throws IOException {
    return send(session + "/goog/cdp/execute", Map.of("cmd", command, "params", parameters));
  }

  /** Runs a script's body in the page and returns what it returns, once a promise is kept. */
  Object run(String script) throws IOException {
    return send(session + "/execute/sync", Map.of("script", script, "args", List.of()));
  }

  /** Holds the pointer on an element, moves it, lets go. */
  void drag(String selector, int byX, int byY) throws IOException {
    List<?> middle =
        (List<?>)
            run(
                "const e = document.querySelector('%s'); e.scrollIntoView({block: 'center'});"
                        .formatted(selector)
                    + " const r = e.getBoundingClientRect();"
                    + " return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)];");
    int x = ((Number) middle.get(0)).intValue();
    int y = ((Number) middle.get(1)).intValue();
    List<Map<String, Object>> moves =
        List.of(
            Map.of("type", "pointerMove", "duration", 0, "x", x, "y", y),
            Map.of("type", "pointerDown", "button", 0),
            Map.of("type", "pointerMove", "duration", 50, "x", x + byX, "y", y + byY),
            Map.of("type", "pointerUp", "button", 0));
    Map<String, Object> pointer = Map.of("type", "pointer", "id", "mouse", "actions", moves);
    send(session + "/actions", Map.of("actions", List.of(pointer)));
    awaitDrawing();
  }

  /** Waits until what a script or the pointer asked for has been drawn, two frames later. */
  void awaitDrawing() throws IOException {
    run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
  }

  /** What the browser said on its console: errors of scripts, refused requests. */
  List<?> console() throws IOException {
    return (List<?>) send(session + "/se/log", Map.of("type", "browser"));
  }

  /** Takes a picture of the whole page. */
  void picture(Path png) throws IOException {
    JsonObject shot =
        JsonObject.of(
            cdp("Page.captureScreenshot", Map.of("captureBeyondViewport", true, "format", "png")),
            "screenshot");
    Files.write(png, Base64.getDecoder().decode(shot.getString("data")));
  }

  private Object send(String path, Object body) throws IOException {
    HttpURLConnection connection =
        (HttpURLConnection) URI.create(base + path).toURL().openConnection();
    connection.setRequestMethod("POST");
    connection.setDoOutput(true);
    connection.setReadTimeout(60_000);
    connection.setRequestProperty("Content-Type", "application/json");
    connection.getOutputStream().write(Json.write(body).getBytes(StandardCharsets.UTF_8));
    boolean failed = connection.getResponseCode() >= 400;
    try (InputStream in = failed ? connection.getErrorStream() : connection.getInputStream()) {
      String answer = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      if (failed) {
        throw new IOException(path + ": " + answer);
      }
      return JsonObject.of(Json.parse(answer, path), path).values().get("value");
    }
  }

  /** Ends browser and driver, and returns when all of their processes have ended. */
  @Override
  public void close() {
    List<ProcessHandle> processes = new ArrayList<>(driver.descendants().toList());
    processes.add(driver.toHandle());
    processes.forEach(ProcessHandle::destroyForcibly);
    for (ProcessHandle process : processes) {
      process.onExit().orTimeout(10, TimeUnit.SECONDS).exceptionally(late -> process).join();
    }
  }
}
