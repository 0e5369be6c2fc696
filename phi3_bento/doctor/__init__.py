"""`phi3-bento doctor`: what on this machine would keep the service from its promises."""
