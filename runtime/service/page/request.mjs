// Requests to the server that served the page, with its token if it wants one.

let token = sessionStorage.getItem("wavepaint-token") ?? "";

/** Asks for the token in a dialog; resolves to whether one was given. */
function askToken() {
  const dialog = document.getElementById("token");
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        token = dialog.returnValue === "ok" ? document.getElementById("token-value").value.trim() : "";
        sessionStorage.setItem("wavepaint-token", token);
        resolve(token !== "");
      },
      { once: true },
    );
    dialog.showModal();
  });
}

/** Fetches like fetch; asks for a token while the server refuses the one it got. */
export async function request(url, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(url, { ...options, headers });
    if (response.status !== 401 || !(await askToken())) return response;
  }
}

/** Returns what a refusal says, in the words of the library. */
export async function readRefusal(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status} (${response.statusText || "no reason given"}).`;
  }
}
