// Sheets that open and close, and the switch between dark and light.

/** At most one `<details class="menu">` is open, until something else is pressed. */
export function closeMenusByThemselves() {
  const menus = [...document.querySelectorAll(".menu")];
  addEventListener("click", ({ target }) => {
    const own = target.closest("button") ? null : target.closest(".menu");
    for (const menu of menus) if (menu !== own) menu.open = false;
  });
  addEventListener("keydown", ({ key }) => {
    const open = menus.find((menu) => menu.open);
    if (key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}

/** The system's choice, until the button is pressed; then that is remembered. */
export function switchThemeBy(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    const chosen = localStorage.getItem("theme");
    document.documentElement.dataset.theme = chosen ?? "";
    button.ariaPressed = String((chosen ?? (dark.matches ? "dark" : "light")) === "dark");
  };
  button.onclick = () => {
    localStorage.setItem("theme", button.ariaPressed === "true" ? "light" : "dark");
    paint();
  };
  dark.onchange = paint;
  paint();
}
