//! The page. Its assets are part of the binary: the image needs no other file.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    routing::{MethodRouter, get},
};

pub(crate) fn router() -> Router {
    Router::new()
        .route("/", asset("text/html; charset=utf-8", include_str!("../assets/index.html")))
        .route("/page.css", asset("text/css; charset=utf-8", include_str!("../assets/page.css")))
        .route(
            "/page.js",
            asset("text/javascript; charset=utf-8", include_str!("../assets/page.js")),
        )
        .route("/icon.svg", asset("image/svg+xml", include_str!("../assets/icon.svg")))
}

fn asset(media_type: &'static str, text: &'static str) -> MethodRouter {
    let headers = [
        (CONTENT_TYPE, media_type),
        // After an update of the image, no browser may mix old and new.
        (CACHE_CONTROL, "no-cache"),
        // Nothing from elsewhere, and no inline scripts or styles.
        (CONTENT_SECURITY_POLICY, "default-src 'self'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    get(move || async move { (headers, text) })
}
